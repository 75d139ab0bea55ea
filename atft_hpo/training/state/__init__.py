"""What a run carries from epoch to epoch, keeps in files, and shares with other runs."""
