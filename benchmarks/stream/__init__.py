"""Cost of the stream between policy and servo, beside what is commonly used instead."""
