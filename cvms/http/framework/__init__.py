"""Foundation of every route: edge, routing, requests, responses, problems and limits."""
