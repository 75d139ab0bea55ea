"""Which pruner saves epochs without ending the best trials?"""
