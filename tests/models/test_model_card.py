"""A model's card: every field of CHAI's schema and of MONAI's metadata, what was stated, and that the rest was not."""

from ailab_kernel.models import base_bundle, read_bundle
from ailab_kernel.models.model_card import CHAI, MONAI, model_card, tensors
from tests.cli.running import ailab

from .test_bundle import make_bundle

# Leaf elements of coalition-for-health-ai/mc-schema, v0.2/schema.xsd.
SCHEMA = ["ModelName", "ModelDeveloper", "DeveloperContact", "ReleaseStage", "ReleaseDate", "ReleaseVersion", "GlobalAvailability", "EHRCompatibility", "RegulatoryApproval", "Summary", "Keywords", "IntendedUseAndWorkflow", "PrimaryIntendedUsers", "HowToUse", "TargetedPatientPopulation", "CautionedOutOfScopeSettings", "KnownRisksAndLimitations", "KnownBiasesOrEthicalConsiderations", "ClinicalRiskLevel", "OutcomesAndOutputs", "ModelType", "FoundationModels", "InputDataSource", "OutputAndInputDataTypes", "DevelopmentDataCharacterization", "BiasMitigationApproaches", "OngoingMaintenance", "Security", "Transparency", "FundingSource", "ThirdPartyInformation", "StakeholdersConsulted", "EvaluationReferences", "ClinicalTrial", "PeerReviewedPublications", "ReimbursementStatus", "PatientConsentOrDisclosure"]
METRICS = ("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability")
ASKED = ("MetricGoal", "Results", "Interpretation", "TestType", "TestingDataDescription", "ValidationProcessAndJustification")


def test_every_field_of_the_schema_is_there_once():
    names = [name for _, name, *_ in CHAI]
    assert sorted(names) == sorted([*SCHEMA, *(f"{kind}.{name}" for kind in METRICS for name in ASKED)])


def test_what_is_stated_is_told_and_the_rest_is_said_to_be_missing(tmp_path):
    bundle = read_bundle(make_bundle(tmp_path / "a", description="Finds what is tiny.", authors="A. <b>Lab</b>",
                                     intended_use="Lungs of adults.", chai={"ClinicalRiskLevel": "low"}))  # fmt: skip
    card = model_card(bundle)
    told = card.as_json()
    assert told["About"] == {"ModelName": "tiny", "ModelDeveloper": "A. <b>Lab</b>"}
    assert told["Warnings"] == {"ClinicalRiskLevel": "low"}
    assert told["MONAI metadata"]["version"] == "0.1.0"
    assert "Not stated: Contact." in card.markdown()
    assert "not clinical value" in card.markdown()
    page = card._repr_html_()
    assert "A. &lt;b&gt;Lab&lt;/b&gt;" in page
    assert "<b>Lab" not in page


def test_what_was_measured_is_the_report_s_and_a_developer_cannot_put_his_own_figure_over_it(tmp_path):
    mine = {"FairnessEquity.Results": "fair", "FairnessEquity.MetricGoal": "fairness for all"}
    bundle = read_bundle(make_bundle(tmp_path / "a", chai=mine))
    measured = {"FairnessEquity.Results": "gap 0.2", "FairnessEquity.MetricGoal": "a gap", "FairnessEquity.TestType": "retrospective"}
    told = model_card(bundle, measured=measured).as_json()["Key metrics: fairness"]
    assert told == {**measured, "FairnessEquity.MetricGoal": "fairness for all"}
    assert model_card(bundle).as_json()["Key metrics: fairness"]["FairnessEquity.Results"] == "fair"


def test_input_and_output_are_words():
    metadata = base_bundle("heart-wall").metadata
    assert tensors(metadata, "inputs") == "CT hounsfield, windows of 80×96×96 voxels, 1 channel: image"
    assert tensors(metadata, "outputs").endswith("3 channels: background, heart-wall, heart-cavity")
    for odd in ({}, {"network_data_format": "x"}, {"network_data_format": {"inputs": [1]}},
                {"network_data_format": {"inputs": {"image": {"spatial_shape": 3, "channel_def": ["x"]}}}}):  # fmt: skip
        assert tensors(odd, "inputs") == ""


def test_the_terminal_shows_it(workspace, capsys):
    assert ailab("models", "show", "heart-wall@general") == 0
    told = capsys.readouterr().out
    assert "## Uses and directions" in told
    assert "Not stated: Users, How to use, Patients, Not for." in told
    assert f"- {MONAI[0]}: heart-wall" in told


def test_a_card_is_shown_once_and_somebody_else_s_page_with_it(workspace, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AILAB_HOME", str(workspace.home))
    folder = make_bundle(tmp_path / "b", description="Finds what is tiny.")
    assert ailab("models", "import", folder, "--name", "ours") == 0
    (folder / "docs" / "README.md").write_text("Somebody else's page.\n")
    assert ailab("models", "import", folder, "--name", "theirs") == 0
    capsys.readouterr()
    assert ailab("models", "show", "ours") == 0
    assert capsys.readouterr().out.startswith("# ours@1\n"), "the page that we wrote says nothing more"
    assert ailab("models", "show", "theirs") == 0
    assert capsys.readouterr().out.startswith("Somebody else's page.\n\n# theirs@1\n")
