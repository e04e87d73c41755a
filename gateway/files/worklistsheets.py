"""How the sheets of a worklist look: widths, filters, colours, what can be chosen, how they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from xlsxwriter import Workbook
from xlsxwriter.utility import xl_col_to_name, xl_range_abs
from xlsxwriter.worksheet import Worksheet

from gateway.domain.feedback import END_RESULTS, OF_ONE_PERSON, STATUSES, Contact, Outcome
from gateway.files.columns import NEW_ANSWER_COLUMNS
from gateway.files.worklistrows import Cell, TableLine

EXPLANATION = "Toelichting"
#: On the line of a melding: some of its signals are answered; all are, and not alike.
SOME, DIFFERENT = "deels: zie Signalen", "verschilt: zie Signalen"

#: A deadline is amber from so many days before it.
_SOON_DAYS = 7
#: What is said of one person stands last: the line of a melding offers the list without it.
_ONE_PERSON = [each.value for each in Outcome if each in OF_ONE_PERSON]
_STATUSES = [each.value for each in Outcome if each in STATUSES - OF_ONE_PERSON]
_END_RESULTS = [each.value for each in Outcome if each in END_RESULTS - OF_ONE_PERSON]
_CONTACTS = [each.value for each in Contact]
#: ECMA-376, 18.3.1.63.
_A4 = 9
#: Where grid lines are hidden: in a table they lead the eye, on paper too.
_NOWHERE, _EVERYWHERE = 0, 2
_LINE_POINTS = 13.5
_LINE_CHARS = 100
#: In characters; what is not named has the default.
_WIDTHS: Mapping[str, float] = {
    "rang": 6,
    "inwoners": 23,
    "adres": 21,
    "postcode": 9,
    "woonplaats": 14,
    "aantal_signalen": 10,
    "aantal_partners": 10,
    "aantal_sectoren": 10,
    "laatste_antwoord": 21,
    "status": 16,
    "eindresultaat": 22,
    "bereikt": 8.5,
    "klasse": 14,
    "matchregels": 26,
    "toestemming_terugkoppeling": 15,
    "melding_id": 22,
    "versie": 8,
    "achternaam": 20,
    "geboortedatum": 14.5,
    "straatnaam": 22,
    "telefoonnummer": 15.5,
    "emailadres": 28,
    "partnernaam": 22,
    "signaaltype": 17,
    "crisissignaal": 13.5,
    "ontstaansdatum": 15.5,
    "klantnummer": 16,
    "terugkoppelen_voor": 14.5,
    "signaalnummer": 17,
    "partner": 16,
}
_DEFAULT_WIDTH = 12.0
#: Text that may need several lines; the others are cut off where the next cell is filled.
WRAPPED = frozenset({"inwoners", "adres", "woonplaats", "laatste_antwoord", "matchregels"})
_CHARS = tuple((column, int(_WIDTHS[column])) for column in WRAPPED)
#: Names that would not break into lines; they are compared without spaces and `-`.
_BREAKS: Mapping[str, str] = {"huisnummertoevoeging": "huisnummer- toevoeging"}
_HEAD_POINTS = 42


class Sheets:
    """Writes the sheets of one workbook."""

    def __init__(self, book: Workbook, footer: str, explanation: Sequence[tuple[str, str]]) -> None:
        """`footer` stands under each page; `explanation` are subject and text of *Toelichting*, its title first."""
        self._book, self._footer, self._explanation = book, footer, explanation
        # below the explanation, and two lines of header
        self._lists_at = len(explanation) + 4
        base = {"font_name": "Calibri", "font_size": 10, "valign": "top"}
        self._text = book.add_format(base | {"text_wrap": True})
        self._short = book.add_format(base)
        self._whole = book.add_format(base | {"align": "center"})
        self._euro = book.add_format(base | {"num_format": "€ #,##0.00"})
        self._day = book.add_format(base | {"num_format": "dd-mm-yyyy", "align": "left"})
        # for what a municipality fills in
        answer = base | {"bg_color": "#FFF9E0", "border": 1, "border_color": "#D9D9D9"}
        self._answer = book.add_format(answer)
        self._answer_day = book.add_format(answer | {"num_format": "dd-mm-yyyy", "align": "left"})
        head = base | {"bold": True, "text_wrap": True, "border": 1, "border_color": "#8EA9C8"}
        self._head = book.add_format(head | {"bg_color": "#DCE6F1"})
        self._answer_head = book.add_format(head | {"bg_color": "#FFE699"})
        self._past = book.add_format({"bg_color": "#FFC7CE", "font_color": "#9C0006"})
        self._soon = book.add_format({"bg_color": "#FFEB9C", "font_color": "#7F6000"})
        self._title = book.add_format(base | {"bold": True, "font_size": 14})
        self._subject = book.add_format(base | {"bold": True, "text_wrap": True})

    def table(
        self,
        name: str,
        columns: Sequence[str],
        *,
        count: int,
        pages: int,
        frozen: int,
        last_printed: str,
    ) -> None:
        """A sheet for `count` lines, which `fill` writes; it is printed up to a column, `pages` wide."""
        sheet = self._book.add_worksheet(name)
        for place, column in enumerate(columns):
            is_answer = column in NEW_ANSWER_COLUMNS
            shown = (self._answer_day if _is_day(column) else self._answer) if is_answer else None
            sheet.set_column(place, place, _WIDTHS.get(column, _DEFAULT_WIDTH), shown)
            head = self._answer_head if is_answer else self._head
            sheet.write_string(0, place, _BREAKS.get(column, column.replace("_", " ")), head)
        sheet.set_row(0, _HEAD_POINTS)
        # the lines take the place of these cells, and have their looks
        for place, shown in enumerate((self._text, self._short, self._whole, self._euro, self._day)):
            sheet.write_blank(1, place, None, shown)
        last = max(count, 1)
        sheet.write_blank(last, len(columns) - 1, None, self._day)
        sheet.autofilter(0, 0, count, len(columns) - 1)
        sheet.freeze_panes(1, frozen)
        self._colour(sheet, columns, last)
        self._offer(sheet, columns, last, is_melding="signaalnummer" not in columns)
        self._printed(sheet, pages)
        sheet.hide_gridlines(_NOWHERE)
        sheet.repeat_rows(0)
        sheet.print_area(0, 0, count, columns.index(last_printed))
        if pages > 1:
            sheet.repeat_columns(0, frozen - 1)

    def _colour(self, sheet: Worksheet, columns: Sequence[str], last: int) -> None:
        """Deadlines, as long as nothing was answered (`afronden_voor`: as long as there is no end result)."""
        answered = f"${xl_col_to_name(columns.index('laatste_antwoord'))}2"
        waiting = ("", SOME, Outcome.NOT_YET.value)
        begun = (Outcome.TAKEN_UP.value, Outcome.HELP_ACCEPTED.value)
        for column, open_when in (
            ("uiterlijk_aanbod", waiting),
            ("terugkoppelen_voor", waiting),
            ("afronden_voor", (*waiting, *begun)),
        ):
            if column not in columns:
                continue
            place = columns.index(column)
            day = f"${xl_col_to_name(place)}2"
            is_open = "OR({})".format(",".join(f'{answered}="{each}"' for each in open_when))
            for until, shown in (("TODAY()", self._past), (f"TODAY()+{_SOON_DAYS}+1", self._soon)):
                sheet.conditional_format(
                    1,
                    place,
                    last,
                    place,
                    {
                        "type": "formula",
                        "criteria": f'=AND({day}<>"",{day}<{until},{is_open})',
                        "format": shown,
                        "stop_if_true": True,
                    },
                )

    def _offer(self, sheet: Worksheet, columns: Sequence[str], last: int, *, is_melding: bool) -> None:
        """What may be filled in: lists to choose from, and days."""
        for column, (source, message) in self._choices(is_melding=is_melding).items():
            place = columns.index(column)
            sheet.data_validation(
                1,
                place,
                last,
                place,
                {
                    "validate": "list",
                    "source": source,
                    "input_title": column.replace("_", " "),
                    "input_message": message,
                    "error_title": "Kies uit de lijst",
                    "error_message": "Andere waarden worden niet aangenomen.",
                },
            )
        days = {
            "datum": ("<=", "=TODAY()", "De dag van dit antwoord, niet in de toekomst. Verplicht."),
            "opschorten_tot": (
                ">=",
                date(2021, 1, 1),
                "Tot wanneer de schuldeiser de incasso opschort; leeg: 28 dagen na de datum.",
            ),
        }
        for column, (criteria, value, message) in days.items():
            place = columns.index(column)
            sheet.data_validation(
                1,
                place,
                last,
                place,
                {
                    "validate": "date",
                    "criteria": criteria,
                    "value": value,
                    "input_title": column.replace("_", " "),
                    "input_message": message,
                    "error_title": "Geen geldige datum",
                    "error_message": "Vul een datum in als 22-11-2026, niet in de toekomst bij datum.",
                },
            )

    def _choices(self, *, is_melding: bool) -> Mapping[str, tuple[str | list[str], str]]:
        about = (
            "Geldt voor alle signalen van de melding, als die over één persoon gaan."
            if is_melding
            else "Geldt voor dit signaal en gaat voor de regel op Meldingen."
        )
        return {
            "status": (self._listed(0, _STATUSES, is_melding=is_melding), about),
            "eindresultaat": (
                self._listed(1, _END_RESULTS, is_melding=is_melding),
                f"Gaat voor de status. {about}",
            ),
            "contactsoort": (self._listed(2, _CONTACTS, is_melding=True), "Hoe contact is gezocht."),
            "bereikt": (["J", "N"], "Is de inwoner bereikt?"),
            "toestemming_terugkoppeling": (
                ["J", "N"],
                "J: de inwoner stemt ermee in dat de schuldeiser hoort dat hulp is geaccepteerd.",
            ),
        }

    def _listed(self, column: int, values: Sequence[str], *, is_melding: bool) -> str:
        last = self._lists_at + len(values) - 1 + (0 if is_melding else len(_ONE_PERSON))
        return f"={EXPLANATION}!{xl_range_abs(self._lists_at, column, last, column)}"

    def explain(self) -> None:
        """*Toelichting*: what holds here in words, and below it the lists to choose from."""
        sheet = self._book.add_worksheet(EXPLANATION)
        for place, width in enumerate((30, 62, 22)):
            sheet.set_column(place, place, width)
        (title, _), *lines = self._explanation
        sheet.write_string(0, 0, title, self._title)
        for row, (subject, text) in enumerate(lines, start=2):
            sheet.write_string(row, 0, subject, self._subject)
            sheet.merge_range(row, 1, row, 2, "", self._text)
            sheet.write_string(row, 1, text, self._text)
            # merged cells do not grow with their text
            sheet.set_row(row, _LINE_POINTS * (1 + len(text) // _LINE_CHARS))
        sheet.write_string(self._lists_at - 2, 0, "Wat u kunt kiezen", self._subject)
        lists = (
            ("status", _STATUSES + _ONE_PERSON),
            ("eindresultaat", _END_RESULTS + _ONE_PERSON),
            ("contactsoort", _CONTACTS),
        )
        for place, (head, values) in enumerate(lists):
            sheet.write_string(self._lists_at - 1, place, head, self._answer_head)
            for row, value in enumerate(values, start=self._lists_at):
                sheet.write_string(row, place, value, self._text)
        self._printed(sheet, 1)
        sheet.hide_gridlines(_EVERYWHERE)

    def _printed(self, sheet: Worksheet, pages: int) -> None:
        sheet.set_landscape()
        sheet.set_paper(_A4)
        sheet.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.7)
        sheet.fit_to_pages(pages, 0)
        sheet.set_footer(self._footer)


def lined(cells: Mapping[str, Cell]) -> TableLine:
    """A line as high as the highest of its texts: not every program makes a row so by itself."""
    lines = max(-(-len(str(cells.get(column, ""))) // chars) for column, chars in _CHARS)
    return cells, _LINE_POINTS * lines if lines > 1 else None


def _is_day(column: str) -> bool:
    return column in {"datum", "opschorten_tot"}
