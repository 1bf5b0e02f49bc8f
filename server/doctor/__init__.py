"""Command `depthlive doctor`: whether this machine can serve with these settings, and what to do if not."""
