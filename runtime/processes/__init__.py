"""The processes of a run: policy, camera, servo, arm, recorder, and how they live and die."""
