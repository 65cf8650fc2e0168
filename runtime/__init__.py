"""What runs beside the robot: observation, policy, scheduler, servo, safety, wire, robots."""
