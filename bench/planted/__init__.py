"""Does every module learn the part of a planted market it is there for?"""
