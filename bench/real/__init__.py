"""Does the model rank real stocks better than what is simpler?"""
