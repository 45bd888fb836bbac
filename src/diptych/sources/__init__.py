"""The sources Diptych ships, by kind; a module is imported when its source is used."""

SOURCES: dict[str, str] = {
    "web": "diptych.sources.web:Web",
    "folder": "diptych.sources.folder:Folder",
    "coco": "diptych.sources.coco:Coco",
}
