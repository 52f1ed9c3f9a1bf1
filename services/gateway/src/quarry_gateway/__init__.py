"""HTTP for the platform: authentication, uploads, and answers from the services behind."""
