"""Does FAN continue a series better than no normalisation, RevIN, SAN?"""
