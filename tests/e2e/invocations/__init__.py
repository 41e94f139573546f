"""What test_invocations.py runs the functions with: the recorded events, and what stands in for AWS and Rightfoot."""
