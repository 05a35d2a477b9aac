"""What every route uses: edge, routing, requests, responses, problems and limits."""
