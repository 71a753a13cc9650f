import io
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings
from rest_framework.exceptions import ParseError

from batches.models import Batch
from batches.uploads.parsers import CSVParser, JSONLinesParser, JSONLParser
from batches.uploads.stored import LINE_MAX_BYTES
from videos.models import Group, Job

pytestmark = pytest.mark.django_db

URL = "/api/v1/batches"


def upload(api: Client, body: str | bytes, kind: str = "text/csv", query: str = "", **headers: str) -> Any:
    return api.generic("POST", f"{URL}{query}", body, kind, headers=headers)


def problems(response: Any) -> list[tuple[int | None, str]]:
    assert response.status_code == 400, response.content
    assert not Job.objects.exists()
    assert not Batch.objects.exists()
    return [(each.get("line"), each["field"]) for each in response.json()["error"]["details"]]


def jobs() -> list[Job]:
    return list(Job.objects.order_by("id"))


def test_csv_is_read_by_its_header(api: Client) -> None:
    body = (
        "ref,prompt,duration,fps,seed,metadata,priority\n"
        'a,"A boat, at dusk",8,24,7,"{""scene"": 1}",high\n'
        "b,A boat,,,,,\n"
    )
    answer = upload(api, body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["data"]["jobIds"] == [str(job.pk) for job in jobs()]
    first, second = jobs()
    assert (first.ref, first.prompt, first.duration, first.fps) == ("a", "A boat, at dusk", 8, 24)
    assert (first.seed, first.metadata, first.priority) == (7, {"scene": 1}, 2)
    assert (second.duration, second.fps, second.metadata, second.priority) == (None, None, {}, 1)


@pytest.mark.parametrize(
    "kind", ["application/x-ndjson", "application/jsonl", "application/jsonl; charset=utf-8"]
)
def test_json_lines_are_read_line_by_line(api: Client, kind: str) -> None:
    lines = [{"prompt": "one", "duration": 8, "ref": "a"}, {"prompt": "zwei ü", "metadata": {"b": [1]}}]
    body = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n"
    assert upload(api, body.encode(), kind).status_code == 201
    assert [(job.prompt, job.duration, job.metadata) for job in jobs()] == [
        ("one", 8, {}),
        ("zwei ü", None, {"b": [1]}),
    ]


def test_the_query_names_the_batch_and_holds_for_each_item(api: Client) -> None:
    query = (
        "?batchName=Autumn&concurrency=5&duration=8&aspectRatio=9:16&priority=low&metadata=%7B%22a%22:1%7D"
    )
    assert upload(api, "prompt,duration\none,\ntwo,4\n", query=query).status_code == 201
    assert [(job.duration, job.aspect_ratio, job.priority) for job in jobs()] == [
        (8, "9:16", 0),
        (4, "9:16", 0),
    ]
    assert (Batch.objects.get().name, Batch.objects.get().metadata) == ("Autumn", {"a": 1})
    assert Group.objects.get().limit == 5


def test_a_prompt_may_hold_for_all(api: Client) -> None:
    assert upload(api, "seed\n1\n2\n", query="?prompt=boat").status_code == 201
    assert [(job.prompt, job.seed) for job in jobs()] == [("boat", 1), ("boat", 2)]


@pytest.mark.parametrize(
    "query", ["?concurrency=x", "?concurrency=0", "?duration=99", "?metadata=x", "?ref=a", "?colour=red"]
)
def test_a_bad_query_is_refused_by_name(api: Client, query: str) -> None:
    found = problems(upload(api, "prompt\nboat\n", query=query))
    assert found == [(None, query[1:].partition("=")[0])]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_the_first_column(api: Client, mark: bytes) -> None:
    assert upload(api, mark + b"prompt\nboat\n").status_code == 201
    assert upload(api, mark + b'{"prompt": "boat"}\n', "application/jsonl").status_code == 201
    assert [job.prompt for job in jobs()] == ["boat", "boat"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_quoted_cells_may_have_line_breaks_and_lines_are_counted_in_the_file(
    api: Client, ending: str
) -> None:
    body = ending.join(["prompt,duration", '"one', 'two",8', "three,99", "", "four,0"])
    assert problems(upload(api, body)) == [(4, "duration"), (6, "duration")]
    assert upload(api, body.replace("99", "8").replace("four,0", "four,4")).status_code == 201
    assert [job.prompt.split() for job in jobs()] == [["one", "two"], ["three"], ["four"]]


def test_every_bad_line_is_named_and_nothing_is_accepted(api: Client) -> None:
    good = "".join(f"boat {number},8,r{number}\n" for number in range(300))
    body = f"prompt,duration,ref\n{good}boat,99,a\nboat,eight,b\nboat,8,r7\nboat\n,8,c\nboat,8,{'x' * 101}\n"
    answer = upload(api, body)
    assert problems(answer) == [
        (302, "duration"), (303, "duration"), (304, "ref"), (305, ""), (306, "prompt"), (307, "ref"),
    ]  # fmt: skip
    message = answer.json()["error"]["message"]
    assert "6 bad items" in message
    assert "line 302: duration:" in message
    assert "in line 9" in answer.json()["error"]["details"][2]["message"]


def test_every_bad_json_line_is_named(api: Client) -> None:
    lines = [b'{"prompt": "boat"}', b'{"prompt": ', b"[]", b'{"prompt": "a", "prompt": "b"}']
    lines += [b'{"prompt": "\xff"}', b'{"prompt": 1}']
    found = problems(upload(api, b"\n".join(lines), "application/x-ndjson"))
    assert found == [(2, ""), (3, ""), (4, ""), (5, ""), (6, "prompt")]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "at least one"),
        (b"prompt\n", "at least one"),
        (b"duration\n8\n", "no column prompt"),
        (b"prompt,colour\nboat,red\n", "no column 'colour'"),
        (b"prompt,prompt\nboat,boat\n", "more than once"),
        (b"prompt|duration\nboat|8\n", "separated by commas, semicolons or tabs"),
        (b"prompt,duration;seed\nboat,8;1\n", "no column 'duration;seed'"),
        ("prompt\nboat é\n".encode("latin-1"), "0xe9 is not UTF-8"),
        ("prompt\nboat\n".encode("utf-16")[:-1], "not UTF-16, as the file says"),
        (b"\xff\xfep\x00\x00\xd8\n\x00", "not UTF-16, as the file says"),
        ("prompt\nboat\n".encode("utf-16-le"), "null characters"),
        ("prompt\n".encode("utf-32"), "null characters"),
        (b'prompt\n"boat\n', "not CSV"),
        (b"prompt\n" + b"x" * (LINE_MAX_BYTES + 1), "which is the most"),
        (b"prompt\nbo\x00at\n", "ull character"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(api: Client, body: bytes, says: str) -> None:
    answer = upload(api, body)
    problems(answer)
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize("parser", [CSVParser, JSONLinesParser, JSONLParser])
def test_a_file_that_breaks_off_is_not_taken_for_a_smaller_one(parser: type[CSVParser]) -> None:
    """Servers hand over what came of a body whose sender went away."""
    body = b"prompt\nboat\n"
    request = SimpleNamespace(META={"CONTENT_LENGTH": str(len(body) + 1)})
    with pytest.raises(ParseError, match=f"{len(body)} of {len(body) + 1} bytes"):
        parser().parse(io.BytesIO(body), parser_context={"request": request})
    request.META["CONTENT_LENGTH"] = str(len(body))
    parser().parse(io.BytesIO(body), parser_context={"request": request}).file.close()


def test_a_quote_left_open_is_named_by_the_line_where_its_row_begins(api: Client) -> None:
    answer = upload(api, 'prompt,duration\none,8\n"two,8\nthree,8\n')
    assert problems(answer) == [(3, "")]
    assert "not CSV" in answer.json()["error"]["message"]
    assert problems(upload(api, 'prompt\none\n"two\n' + "three\n" * (LINE_MAX_BYTES // 6))) == [(3, "")]


def test_a_row_is_bounded_over_all_its_lines(api: Client) -> None:
    answer = upload(api, "prompt\none\n" + '"x\n",' * (LINE_MAX_BYTES // 4))
    assert problems(answer) == [(3, "")]
    assert "quote left open" in answer.json()["error"]["message"]


@pytest.mark.parametrize("query", ["", "?prompt=boat"])
def test_a_row_of_empty_cells_is_no_item_and_is_said(api: Client, query: str) -> None:
    answer = upload(api, "prompt,seed\none,1\n,\n\n , \ntwo,2\n,\n", query=query)
    assert answer.status_code == 201
    assert answer.json()["data"]["skippedRows"] == 4
    assert [job.prompt for job in jobs()] == ["one", "two"]
    estimate = api.generic("POST", f"{URL}/estimate", "prompt,seed\none,1\n,\n", "text/csv").json()["data"]
    assert (estimate["total"], estimate["skippedRows"]) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "before", "row"),
    [("text/csv", "", "\n"), ("text/csv", "prompt\n", ",\n"), ("application/x-ndjson", "", " \n")],
)
def test_no_more_blank_rows_are_passed_over_than_a_sheet_has(
    api: Client, monkeypatch: pytest.MonkeyPatch, kind: str, before: str, row: str
) -> None:
    monkeypatch.setattr("batches.uploads.stored.BLANK_ROWS_MAX", 10)
    item = '{"prompt": "boat"}' if "json" in kind else "boat" if before else "prompt\nboat"
    answer = api.post("/api/v1/batches", f"{before}{row * 10}{item}", content_type=kind)
    assert (answer.status_code, answer.json()["data"]["skippedRows"]) == (201, 10)
    answer = api.post("/api/v1/batches", f"{before}{row * 11}{item}", content_type=kind)
    (problem,) = answer.json()["error"]["details"]
    assert (answer.status_code, problem["code"]) == (400, "too_many")
    assert problem["line"] == 11 + bool(before)


def test_a_file_of_blank_rows_has_no_items(api: Client) -> None:
    assert problems(upload(api, "prompt,seed\n,\n,\n", query="?prompt=boat")) == [(None, "videos")]


def test_csv_under_the_name_that_excel_has_for_it(api: Client) -> None:
    assert upload(api, "prompt\nboat\n", "application/vnd.ms-excel").status_code == 201
    for workbook in (b"PK\x03\x04 and so on", b"\xd0\xcf\x11\xe0 and so on"):
        answer = upload(api, workbook, "application/vnd.ms-excel")
        assert answer.status_code == 400
        assert "save it as CSV" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "kind", "body"),
    [
        ("videos.csv", "text/csv", "prompt\nboat\n"),
        ("VIDEOS.CSV", "application/octet-stream", "prompt\nboat\n"),
        ("videos", "application/vnd.ms-excel", "prompt\nboat\n"),
        ("videos.jsonl", "application/octet-stream", '{"prompt": "boat"}\n'),
        ("videos", "application/x-ndjson", '{"prompt": "boat"}\n'),
    ],
)
def test_a_file_of_a_form(api: Client, name: str, kind: str, body: str) -> None:
    def send(key: str) -> Any:
        file = SimpleUploadedFile(name, body.encode(), kind)
        return api.post(f"{URL}?batchName=boats", {"file": file}, headers={"idempotency-key": key})

    assert send("a").status_code == 201
    assert send("a")["Idempotent-Replayed"] == "true"
    assert Batch.objects.get().name == "boats"
    assert [job.prompt for job in jobs()] == ["boat"]


def test_a_form_that_is_not_certain_is_refused(api: Client) -> None:
    def refused(**parts: Any) -> str:
        answer = api.post(URL, parts)
        assert answer.status_code == 400, answer.content
        assert not Job.objects.exists()
        return str(answer.json()["error"]["message"])

    file = SimpleUploadedFile("videos.csv", b"prompt\nboat\n", "text/csv")
    assert "one file" in refused(batchName="boats")
    assert "one file" in refused(file=file, other=SimpleUploadedFile("b.csv", b"prompt\nboat\n"))
    assert "parameter of the address" in refused(
        file=SimpleUploadedFile("videos.csv", b"prompt\nboat\n"), batchName="boats"
    )
    assert "does not say what the file is" in refused(file=SimpleUploadedFile("videos", b"prompt\nboat\n"))


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("duration", "10s", 10),
        ("duration", " 7.5 sec", 7.5),
        ("duration", "8 seconds", 8),
        ("resolution", "4K", "4k"),
        ("resolution", "1080P", "1080p"),
        ("aspectRatio", "16:09", "16:9"),
        ("aspectRatio", "09:16", "9:16"),
        ("aspectRatio", "9:16:00", "9:16"),
        ("aspectRatio", " 1 : 1 ", "1:1"),
        ("aspectRatio", "16x9", "16:9"),
        ("style", "Calm", "calm"),
        ("seed", "-1", None),
    ],
)
def test_what_can_mean_one_thing_only_is_taken(api: Client, column: str, cell: str, value: object) -> None:
    names = {"aspectRatio": "aspect_ratio"}
    answer = upload(api, f"prompt,{column}\nboat,{cell}\n")
    assert answer.status_code == 201, answer.content
    assert getattr(jobs()[0], names.get(column, column)) == value


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("duration", "10m"), ("duration", "s"), ("duration", "ten"), ("duration", "1:30"),
        ("resolution", "1920x1080"), ("resolution", "HD"), ("aspectRatio", "16:10"), ("aspectRatio", "wide"),
        ("aspectRatio", "16:09:30"), ("seed", "-2"), ("seed", "1.5"),
    ],
)  # fmt: skip
def test_what_can_mean_several_things_is_refused(api: Client, column: str, cell: str) -> None:
    assert problems(upload(api, f"prompt,{column}\nboat,{cell}\n")) == [(2, column)]


def test_blanks_around_a_quote_are_none_of_the_cell(api: Client) -> None:
    body = 'prompt, ref ,duration\n "A boat, at dusk" ,"a"\t, 8\n"two\nlines" , "b","4"  \n  plain , c ,4\n'
    answer = upload(api, body)
    assert answer.status_code == 201, answer.content
    found = [(job.prompt, job.ref, job.duration) for job in jobs()]
    assert found == [("A boat, at dusk", "a", 8), ("two\nlines", "b", 4), ("plain", "c", 4)]


@pytest.mark.parametrize("row", ['"a" "b",1', '"a"b,1', '"a,1', '"a" x,1'])
def test_quotes_that_are_wrong_are_still_refused(api: Client, row: str) -> None:
    answer = upload(api, f"prompt,seed\n{row}\n")
    assert answer.status_code == 400
    assert "not CSV" in answer.json()["error"]["message"]


def test_all_that_is_wrong_with_a_header_is_said_at_once_with_hints(api: Client) -> None:
    answer = upload(api, "aspect_ratios,duraton,colour,seed,Seed\n16:9,8,red,1,1\n")
    assert answer.status_code == 400
    told = [each["message"] for each in answer.json()["error"]["details"]]
    assert "is aspectRatio meant?" in told[0]
    assert "is duration meant?" in told[1]
    assert told[2].startswith("There is no column 'colour'. There are prompt,")
    assert "'seed' is there more than once" in told[3]
    assert told[4].startswith("There is no column prompt;")


def tolerated(answer: Any) -> list[str]:
    """The codes of what was said of how the file was read."""
    assert answer.status_code == 201, answer.json()
    assert all(each["message"] for each in answer.json()["data"]["tolerated"])
    return [each["code"] for each in answer.json()["data"]["tolerated"]]


def test_of_a_plain_file_nothing_is_said(api: Client) -> None:
    assert tolerated(upload(api, "prompt,duration,,\nboat,8,,\n")) == []
    assert tolerated(upload(api, '{"prompt": "boat"}\n', "application/jsonl")) == []


@pytest.mark.parametrize("separator", [";", "\t"])
def test_cells_may_be_separated_by_semicolons_or_tabs(api: Client, separator: str) -> None:
    rows = [
        ["prompt", "duration", "ref"],
        ['"one, two"', '"8"', "a"],
        ["three, four", "8", "b"],
        ['  "say ""hi"""  ', "8", "c"],
        ["", "", ""],
    ]
    body = "\n".join(separator.join(row) for row in rows)
    answer = upload(api, body)
    assert tolerated(answer) == ["separator"]
    assert answer.json()["data"]["skippedRows"] == 1
    name = {";": "semicolons", "\t": "tabs"}[separator]
    assert answer.json()["data"]["tolerated"][0]["message"] == f"Cells are separated by {name}."
    found = [(job.prompt, job.duration, job.ref) for job in jobs()]
    assert found == [("one, two", 8, "a"), ("three, four", 8, "b"), ('say "hi"', 8, "c")]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"'])
def test_a_first_line_may_name_the_separator_as_excel_does(api: Client, first: str) -> None:
    assert tolerated(upload(api, f"{first}\r\nprompt;seed\r\nboat;7\r\n")) == ["separator"]
    assert [(job.prompt, job.seed) for job in jobs()] == [("boat", 7)]
    # Only there: in another line it is a header that nobody knows.
    assert upload(api, f"\n{first}\nprompt;seed\nboat;7\n").status_code == 400


def test_a_semicolon_in_a_text_separates_nothing(api: Client) -> None:
    assert tolerated(upload(api, "prompt\na boat; a river\n")) == []
    assert tolerated(upload(api, 'prompt,metadata\n"a;b;c","{""a"": 1}"\n')) == []
    assert [job.prompt for job in jobs()] == ["a boat; a river", "a;b;c"]


def test_names_of_columns_may_be_spelt_as_people_spell_them(api: Client) -> None:
    answer = upload(api, "PROMPT,aspect_ratio,Negative Prompt,retain-for,seed\nboat,16:9,rain,86400,7\n")
    assert tolerated(answer) == ["column_names"]
    said = answer.json()["data"]["tolerated"][0]["message"]
    assert "'PROMPT' as prompt" in said
    assert "'Negative Prompt' as negativePrompt" in said
    assert "seed" not in said
    (job,) = jobs()
    assert (job.prompt, job.aspect_ratio, job.negative_prompt, job.seed) == ("boat", "16:9", "rain", 7)
    assert job.retain_for == 86_400


def test_two_spellings_of_one_column_are_refused(api: Client) -> None:
    answer = upload(api, "prompt,aspectRatio,aspect_ratio\nboat,16:9,9:16\n")
    assert "'aspectRatio' is there more than once" in answer.json()["error"]["message"]


def test_rows_may_end_with_more_empty_cells_than_the_header(api: Client) -> None:
    answer = upload(api, "prompt,seed\nboat,1,,,\nkite,2\nsnail,3, \n")
    assert tolerated(answer) == ["trailing_cells"]
    assert answer.json()["data"]["tolerated"][0]["message"].endswith(": 2.")
    assert [job.prompt for job in jobs()] == ["boat", "kite", "snail"]


@pytest.mark.parametrize("row", ["boat,1,,x", "boat,1,x", "boat"])
def test_cells_beyond_the_header_and_rows_that_are_too_short_are_refused(api: Client, row: str) -> None:
    # A short row may be one that a line break has cut in two.
    assert problems(upload(api, f"prompt,seed\n{row}\n")) == [(2, "")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_file_in_utf_16_is_read(api: Client, encoding: str, ending: str) -> None:
    prompts = ["雾 a boat", "𝄞 " + "ä" * 1900, *(f"boat {number}" for number in range(300))]
    body = ending.join(["\ufeffprompt\tref", *(f"{each}\t{n}" for n, each in enumerate(prompts))])
    answer = upload(api, body.encode(encoding))
    assert tolerated(answer) == ["utf16", "separator"]
    assert [job.prompt for job in jobs()] == prompts
    (wrong,) = upload(api, (body + f"{ending}kite\t1").encode(encoding)).json()["error"]["details"]
    assert (wrong["line"], wrong["field"]) == (304, "ref")


def test_a_line_in_utf_16_is_bounded(api: Client) -> None:
    answer = upload(api, ("\ufeffprompt\n" + "x" * (LINE_MAX_BYTES + 1)).encode("utf-16-le"))
    assert "which is the most" in answer.json()["error"]["message"]


def test_lines_of_json_in_utf_16_are_refused(api: Client) -> None:
    answer = upload(api, '{"prompt": "boat"}\n'.encode("utf-16"), "application/jsonl")
    assert "UTF-16; save it as UTF-8" in answer.json()["error"]["message"]


def test_an_estimate_says_it_as_well(api: Client) -> None:
    response = api.post(f"{URL}/estimate", "Prompt;\nboat;\n", content_type="text/csv")
    codes = [each["code"] for each in response.json()["data"]["tolerated"]]
    assert codes == ["separator", "column_names"]


def test_a_body_that_is_too_long_says_which_limit_it_met(api: Client, settings: Settings) -> None:
    settings.BATCH_UPLOAD_MAX_BYTES, settings.REQUEST_BODY_MAX_BYTES = 60, 50
    answer = upload(api, "prompt\n" + "boat\n" * 20, "text/plain")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
    assert "50 are taken of this type, and 60 as" in answer.json()["error"]["message"]
    assert "text/csv" in answer.json()["error"]["message"]
    answer = upload(api, "prompt\n" + "boat\n" * 20)
    assert "60 are taken." in answer.json()["error"]["message"]
    many = json.dumps({"videos": [{"prompt": "boat"}] * 9})
    answer = api.post("/api/v1/videos/batch", many, content_type="application/json")
    assert "as a file to /api/v1/batches" in answer.json()["error"]["message"]


def test_of_one_bad_line_only_its_first_problems_are_said(api: Client) -> None:
    item = json.dumps({f"field {number}": 1 for number in range(20)})
    assert problems(upload(api, f"{item}\n{item}\n", "application/jsonl")) == [
        *((1, f"field {name}") for name in (0, 1, 10)),
        *((2, f"field {name}") for name in (0, 1, 10)),
    ]


def test_what_was_bad_before_the_file_could_not_be_read_is_said_too(api: Client) -> None:
    answer = upload(api, b"prompt,duration\nboat,99\nboat\xff,8\n")
    assert problems(answer) == [(2, "duration"), (3, "")]


def test_a_line_may_be_as_long_as_the_longest_item(api: Client) -> None:
    item = {"prompt": "ü" * 2000, "negativePrompt": "\U0001f600" * 2000, "metadata": {"a": "x" * 16_000}}
    assert upload(api, json.dumps(item), "application/jsonl").status_code == 201
    assert jobs()[0].negative_prompt == item["negativePrompt"]


def test_more_items_than_the_most_are_refused(api: Client, settings: Settings) -> None:
    settings.BATCH_UPLOAD_MAX_SIZE = 3
    assert upload(api, "prompt\n" + "boat\n" * 3).status_code == 201
    Job.objects.all().delete()
    Batch.objects.all().delete()
    answer = upload(api, "prompt\n" + "boat\n" * 4)
    assert problems(answer) == [(None, "videos")]
    assert "more than 3" in answer.json()["error"]["message"]


def test_an_upload_may_be_larger_than_other_bodies_and_is_bounded(api: Client, settings: Settings) -> None:
    settings.BATCH_UPLOAD_MAX_BYTES = settings.REQUEST_BODY_MAX_BYTES = 50
    settings.BATCH_UPLOAD_MAX_BYTES = 100
    assert upload(api, "prompt\n" + "b" * 80 + "\n").status_code == 201
    assert upload(api, "prompt\n" + "b" * 120 + "\n").status_code == 413
    large = {"videos": [{"prompt": "b" * 50}]}
    # JSON is parsed in memory, wherever it goes.
    for address in ("/api/v1/videos/batch", URL):
        assert api.post(address, large, content_type="application/json").status_code == 413
    assert api.generic("GET", URL, "x" * 80, "text/csv").status_code == 413


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_another_kind_of_body_is_415_and_says_where_to_go(api: Client, kind: str) -> None:
    answer = upload(api, '{"videos": []}', kind)
    assert answer.status_code == 415
    assert "text/csv" in answer.json()["error"]["message"] or kind != "application/json"


def test_the_same_key_makes_one_batch_and_another_file_or_query_is_422(api: Client) -> None:
    key = {"Idempotency-Key": "one"}
    first, again = (upload(api, "prompt\nboat\n", **key) for _ in range(2))
    assert first.json() == again.json()
    assert Batch.objects.count() == 1
    assert upload(api, "prompt\nboats\n", **key).status_code == 422
    assert upload(api, "prompt\nboat\n", query="?duration=8", **key).status_code == 422


def test_an_estimate_reads_a_file_as_a_create_does(api: Client) -> None:
    body = "prompt,duration,ref\nboat,8,a\nboat,10,b\n"
    answer = api.generic("POST", f"{URL}/estimate?aspectRatio=9:16", body, "text/csv")
    data = answer.json()["data"]
    assert (data["total"], data["adjusted"], data["estimatedCost"]) == (2, 1, "2.00")
    assert [item["submitted"]["size"] for item in data["items"]] == ["720x1280"] * 2
    assert not Job.objects.exists()
    assert problems(api.generic("POST", f"{URL}/estimate", "prompt\n\n", "text/csv"))


def test_a_formula_is_kept_as_it_is(api: Client) -> None:
    assert upload(api, 'prompt\n"=HYPERLINK(""http://x"")"\n').status_code == 201
    assert jobs()[0].prompt == '=HYPERLINK("http://x")'


def test_sound_and_fields_of_the_upstreams_own_are_columns(api: Client) -> None:
    text = 'prompt,audio,extra\none,TRUE,"{""steps"": 3}"\ntwo,false,\nthree,,\n'
    assert upload(api, text).status_code == 201
    assert [(job.audio, job.extra) for job in jobs()] == [(True, {"steps": 3}), (False, {}), (None, {})]


def test_what_is_no_sound_and_no_object_is_refused(api: Client) -> None:
    assert problems(upload(api, "prompt,audio,extra\none,yes,[]\n")) == [(2, "audio"), (2, "extra")]


def test_a_cell_of_blanks_takes_no_time(api: Client) -> None:
    began = time.monotonic()
    answer = upload(api, f"prompt,duration\nboat,1{' ' * 100_000}x\n")
    assert problems(answer) == [(2, "duration")]
    assert time.monotonic() - began < 10


def test_columns_without_a_name_may_be_empty(api: Client) -> None:
    assert upload(api, ",,,\n\nprompt,duration,,\nboat,8,,\n").status_code == 201
    assert [(job.prompt, job.duration) for job in jobs()] == [("boat", 8)]


def test_a_cell_without_a_name_is_told(api: Client) -> None:
    assert problems(upload(api, "prompt,,\nboat,8,\n")) == [(2, "")]
    assert problems(upload(api, ",,\n")) == [(None, "videos")]


@pytest.mark.parametrize("seconds", ["1_0", "1 0", "8,0", "s", "0x8"])
def test_a_length_with_several_meanings_is_refused(api: Client, seconds: str) -> None:
    assert problems(upload(api, f'prompt,duration\nboat,"{seconds}"\n')) == [(2, "duration")]


def openai_line(number: int, **body: Any) -> dict[str, Any]:
    """A line as OpenAI's guide has it."""
    asked = {"model": "sora-2", "prompt": f"boat {number}", "seconds": "8", "size": "1280x720", **body}
    given = {name: value for name, value in asked.items() if value is not None}
    return {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/videos", "body": given}


def lines_of(*lines: Any) -> str:
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def test_a_file_for_openais_batches_is_taken_as_it_is(api: Client) -> None:
    lines = [
        openai_line(1),
        openai_line(2, size=None, seconds=None),
        openai_line(3, model=None, seconds=4),
        {"prompt": "of our own", "ref": "own"},
    ]
    assert tolerated(upload(api, lines_of(*lines), "application/jsonl")) == []
    found = [(job.ref, job.prompt, job.fitted["seconds"], job.fitted["size"]) for job in jobs()]
    assert found == [
        ("request-1", "boat 1", "8", "1280x720"),
        ("request-2", "boat 2", "4", "720x1280"),
        ("request-3", "boat 3", "4", "1280x720"),
        ("own", "of our own", "4", "1280x720"),
    ]
    assert not any(job.adjustments for job in jobs())


@pytest.mark.parametrize(
    ("line", "field", "says"),
    [
        (openai_line(1, seconds="5"), "duration", "allowed: 4, 8, 12"),
        (openai_line(1, seconds="many"), "duration", ""),
        (openai_line(1, seconds=True), "duration", ""),
        (openai_line(1, size="1920x1080"), "size", "allowed: 720x1280, 1280x720"),
        (openai_line(1, prompt=None), "prompt", "required"),
        (openai_line(1, n=2), "", "body: There is no field 'n'"),
        (openai_line(1, duration=8), "", "body: There is no field 'duration'"),
        (openai_line(1, input_reference={"image_url": "https://x.example/a.png"}), "", "Give the file_id"),
        ({"body": {"prompt": "x"}}, "", "needs a custom_id"),
        (openai_line(1) | {"url": "/v1/responses"}, "", "Only POST /v1/videos"),
        (openai_line(1) | {"method": "GET"}, "", "Only POST /v1/videos"),
        (openai_line(1) | {"body": "boat"}, "", "JSON object is required"),
        (openai_line(1) | {"more": 1}, "", "has no 'more'"),
        (openai_line(1) | {"custom_id": 5}, "ref", ""),
    ],
)
def test_a_line_for_openais_batches_that_is_not_offered_is_named(
    api: Client, line: dict[str, Any], field: str, says: str
) -> None:
    answer = upload(api, lines_of(openai_line(0), line), "application/jsonl")
    assert problems(answer) == [(2, field)]
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("", "720x1280"),
        ("?size=1280x720", "1280x720"),
        ("?aspectRatio=16:9", "1280x720"),
        ("?model=sora-2-pro", "720x1280"),
    ],
)
def test_the_usual_size_of_openai_holds_where_nothing_says_another(
    api: Client, query: str, size: str
) -> None:
    body = lines_of(openai_line(1, size=None, model=None))
    assert upload(api, body, "application/jsonl", query).status_code == 201
    assert [job.fitted["size"] for job in jobs()] == [size]


def test_a_separator_never_stands_within_the_name_of_a_column(api: Client) -> None:
    answer = upload(api, "negative\tprompt\nrain\tboat\n", query="?prompt=x")
    assert answer.status_code == 400
    assert not Job.objects.exists()


def test_a_wrong_header_is_named_by_its_own_line(api: Client) -> None:
    assert problems(upload(api, "sep=;\n\ncolour;prompt\nred;boat\n")) == [(3, "")]
