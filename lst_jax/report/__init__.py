"""The page, figures and tables that tell a person what a run did."""
