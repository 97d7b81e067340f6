"""The application behind the page "Jobs": who may ask, what is read, what can be done. The page is in jobs_page/."""
