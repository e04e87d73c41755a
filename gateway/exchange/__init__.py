"""The SFTP side: listener, login, tree of boxes, session, upload, download (spec 1)."""
