"""Access to the server: host names, origins, proxies, TLS, tokens and what each route asks of them."""
