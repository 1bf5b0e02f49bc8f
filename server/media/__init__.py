"""Pictures and films: decoded safely, drawn, written."""
