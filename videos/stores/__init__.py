"""Where the files of results are: on the disk of the media, or in buckets."""
