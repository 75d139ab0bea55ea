"""Processes of this machine: started, asked to stop, and what their exit codes mean."""
