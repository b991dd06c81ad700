"""More for a while, when it is needed and approved: requests, approvals, grants, break-glass."""
