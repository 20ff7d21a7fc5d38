"""Images, films and cameras in; pictures, films and result files out."""
