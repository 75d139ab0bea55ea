"""What people see and take away: live views, the last words of a session, exports."""
