"""Command `depthlive camera`: a virtual camera that shows what a session generates."""
