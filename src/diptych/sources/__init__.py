"""The sources Diptych ships, by kind; a module is imported when its source is used."""

SOURCES: dict[str, str] = {
    "web": "diptych.sources.web:Web",
    "folder": "diptych.sources.folder:Folder",
    "coco": "diptych.sources.coco:Coco",
    "urls": "diptych.sources.url_lists:UrlList",
    "search": "diptych.sources.search:Search",
    "flickr": "diptych.sources.flickr:Flickr",
    "parquet": "diptych.sources.parquet:Parquet",
    "webdataset": "diptych.sources.webdataset:WebDataset",
    "tweets": "diptych.sources.tweets:Tweets",
    "cmkp": "diptych.sources.cmkp:Cmkp",
    "wiki": "diptych.sources.wiki:Wiki",
    "trc": "diptych.sources.trc:Trc",
}
