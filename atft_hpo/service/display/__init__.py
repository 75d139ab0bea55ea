"""What people see: live views, the last words of a session, the dashboard."""
