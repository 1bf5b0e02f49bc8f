"""The page: ES modules, served as they are. A package, so that the server finds them once installed."""
