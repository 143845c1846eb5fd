"""Security Profiles Operator: record, distribute, bind, enforce and audit security profiles."""
