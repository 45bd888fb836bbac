"""The stages Diptych ships, by name; a module is imported when its stage is used."""

STAGES: dict[str, str] = {
    "clean": "diptych.stages.clean:Clean",
    "clean_text": "diptych.stages.clean_text:CleanText",
    "clean_pairs": "diptych.stages.clean_pairs:CleanPairs",
    "sentences": "diptych.stages.sentences:Sentences",
    "bert": "diptych.stages.bert:Bert",
    "backbone": "diptych.stages.backbone:Backbone",
    "ocr": "diptych.stages.ocr:Ocr",
    "pixels": "diptych.stages.pixels:Pixels",
    "grid": "diptych.stages.grid:Grid",
    "inception": "diptych.stages.inception:Inception",
    "regions": "diptych.stages.regions:Regions",
    "scene_graph": "diptych.stages.scene_graph:SceneGraph",
    "relevance_scores": "diptych.stages.relevance_scores:RelevanceScores",
    "relevance": "diptych.stages.relevance:Relevance",
    "votes": "diptych.stages.votes:Votes",
    "pair_votes": "diptych.stages.votes:PairVotes",
    "best_image": "diptych.stages.votes_best_image:BestImage",
    "entities": "diptych.stages.entities:Entities",
    "entity_labels": "diptych.stages.entities_labels:EntityLabels",
}
