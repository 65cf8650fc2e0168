"""Reports of ``dvla-bench``: their schema, their statistics and their page."""
