"""Report: tables, figures, and the page that holds them."""
