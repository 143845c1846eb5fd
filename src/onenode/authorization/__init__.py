"""Who may do what: role-based access control (RBAC) and the reviews that tell about it."""
