"""What does the search cost beside training: per epoch, and until a trial's first step?"""
