"""What does an epoch cost: its steps, its validation, its end?"""
