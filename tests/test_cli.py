"""The command: what it prints and writes, and that whatever is wrong ends in one sentence."""

import signal
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import bayesgmm
from bayesgmm.cli import Interrupted, main
from bayesgmm.cli.options import SAMPLERS
from bayesgmm.cli.talking import in_options
from bayesgmm.data import PreparedData, Stream
from bayesgmm.errors import DataError, DegenerateFitWarning, FitError, SamplingWarning
from bayesgmm.storage import load


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return ended.value.code, streams.out, streams.err

    return run_command


@pytest.fixture
def quick_posterior(monkeypatch, faithful_draws):
    """Stand in for the sampler; keeps what it was called with."""
    calls = []

    def sample(data, components, **options):
        calls.append((data, components, options))
        warnings.warn("the draws are few", SamplingWarning, stacklevel=2)
        warnings.warn("something about a library", UserWarning, stacklevel=2)
        return faithful_draws

    monkeypatch.setattr("bayesgmm.bayes.fit_bayes", sample)
    return calls


class TestCompare:
    def test_prints_and_writes(self, run, quick_posterior, tmp_path):
        status, out, err = run("compare", "faithful", "-k", "2", "--out", "some/where", "--seed", "3", "--draws", "7")
        assert status == 0
        assert "-1130.26" in out
        assert out.splitlines()[-3:] == [f"  some/where/{name}" for name in ("report.html", "fit.nc", "em.nc")]
        assert err == "Warning: the draws are few.\n"
        page = (tmp_path / "some" / "where" / "report.html").read_text()
        assert "bayesgmm compare faithful -k 2 --out some/where --seed 3 --draws 7" in page
        em, post = load("some/where/em.nc"), load("some/where/fit.nc")
        assert (em.method, em.info.seed, post.method) == ("em", 3, "nuts")
        ((data, components, options),) = quick_posterior
        assert (data.n_rows, components) == (272, 2)
        assert options.pop("em").log_likelihood == em.log_likelihood
        assert options == {
            "structure": "full", "seed": 3, "draws": 7, "tune": None, "chains": 4, "sampler": "nuts", "progress": False
        }  # fmt: skip

    def test_sampler(self, run, quick_posterior):
        status, _, _ = run("compare", "faithful", "-k", "2", "--sampler", "gibbs", "--quiet")
        assert status == 0
        assert quick_posterior[0][2]["sampler"] == "gibbs"

    def test_writes_nothing_without_out(self, run, quick_posterior, tmp_path):
        status, out, err = run("compare", "faithful", "-k", "2", "--quiet")
        assert (status, err) == (0, "")
        assert "Written" not in out
        assert list(tmp_path.iterdir()) == []

    def test_with_a_real_sampler(self, run):
        status, out, _ = run("compare", "galaxies", "-k", "2", "--draws", "60", "--tune", "100", "--chains", "2")
        assert status == 0
        assert "2 chains x 60 draws (nuts)" in out


class TestFit:
    def test_summary_of_a_file(self, run, tmp_path):
        (tmp_path / "t.csv").write_text("name,a,b\n" + "\n".join(f"x,{i % 7},{i * i % 11}" for i in range(60)))
        status, out, err = run("fit", "t.csv", "-k", "2", "--structure", "diag")
        assert status == 0
        assert "60 rows x 2 columns: a, b" in out
        assert err == "Left out, since not numeric: name.\n"

    def test_columns(self, run, tmp_path):
        rows = "\n".join(f"{i % 7},{i * i % 11},{i % 5}" for i in range(60))
        (tmp_path / "t.csv").write_text(f'"a, first",b,c\n{rows}')
        for arguments, names in (
            (["--columns", "c,b"], "c, b"),
            (["--columns", "a, first", "--columns", "c"], "a, first, c"),
        ):
            status, out, _ = run("fit", "t.csv", "-k", "1", *arguments)
            assert status == 0
            assert f"60 rows x 2 columns: {names}\n" in out

    def test_missing_values_can_be_dropped(self, run, tmp_path):
        (tmp_path / "t.csv").write_text("a\n" + "\n".join(str(i % 7) for i in range(30)) + "\nNA\n")
        status, out, err = run("fit", "t.csv", "-k", "1")
        assert (status, out) == (1, "")
        assert "column 'a' has 1 missing value (row 30); pass --missing marginalize to use what was observed" in err
        status, out, _ = run("fit", "t.csv", "-k", "1", "--missing", "drop", "--out", "results")
        assert status == 0
        assert (tmp_path / "results" / "report.html").exists()
        assert load("results/fit.nc").n_rows == 30

    @pytest.mark.parametrize("method", SAMPLERS)
    def test_samplers(self, run, quick_posterior, method):
        status, out, _ = run("fit", "faithful", "-k", "2", "--method", method)
        assert status == 0
        assert "posterior draws" in out
        assert quick_posterior[0][2]["sampler"] == method

    def test_names_of_samplers_are_those_that_there_are(self):
        from bayesgmm.bayes import samplers

        assert tuple(samplers.SAMPLERS) == SAMPLERS

    def test_what_a_sampler_refuses_ends_in_a_sentence(self, run, monkeypatch):
        def refuse(*_arguments, **_options):
            raise FitError("too far from normal for sampler='laplace'; use sampler='nuts'")

        monkeypatch.setattr("bayesgmm.bayes.fit_bayes", refuse)
        status, out, err = run("fit", "faithful", "-k", "2", "--method", "laplace")
        assert (status, out) == (1, "")
        assert err == "Error: too far from normal for --method laplace; use --method nuts.\n"

    def test_the_remedy_of_such_a_sentence_is_an_option(self, run, quick_posterior):
        assert run("fit", "faithful", "-k", "2", "--sampler", "nuts")[0] == 0


@pytest.fixture
def labelled(tmp_path):
    """Two groups far apart; of three rows in four the group is known, and one row has a value missing."""
    rows = [f"{i % 5 + 20 * (i % 2)},{i * i % 7},{('near', 'far')[i % 2] if i % 4 else ''}" for i in range(40)]
    rows[7] = "1,,far"
    path = tmp_path / "labelled.csv"
    path.write_text("a,b,group\n" + "\n".join(rows) + "\n")
    return path


class TestLabels:
    def test_known_components(self, run, labelled):
        status, out, err = run("fit", labelled, "-k", "2", "--labels", "group", "--missing", "drop", "--out", "results")
        assert (status, err) == (0, "")
        assert "39 rows x 2 columns: a, b" in out
        assert "The components of 29 of 39 rows were given: far is component 0, near is component 1." in out
        fit = load("results/fit.nc")
        assert fit.mixture.means[0, 0] > 15 > fit.mixture.means[1, 0]

    @pytest.mark.parametrize(
        ("arguments", "status", "said"),
        [
            (["--labels", "species"], 1, "no column named 'species'; the table has a, b, group."),
            (["--labels", "a", "--columns", "a,b"], 1, "column 'a' cannot be both among --columns and the --labels."),
            (["--labels", "group", "--method", "nuts"], 2, "--labels goes with --method em"),
            (["--labels", "group"], 1, "pass --missing marginalize"),
        ],
    )
    def test_refusals(self, run, labelled, arguments, status, said):
        found, out, err = run("fit", labelled, "-k", "2", *arguments)
        assert (found, out) == (status, "")
        assert said in err
        assert "Traceback" not in err

    def test_more_names_than_components(self, run, labelled):
        _, _, err = run("fit", labelled, "-k", "1", "--labels", "group", "--missing", "drop")
        assert err == "Error: labels has 2 different names, more than -k 1.\n"


class TestLargeFiles:
    @pytest.fixture
    def parquet(self, tmp_path):
        rng = np.random.default_rng(0)
        table = pd.DataFrame({"word": "x", "a": rng.normal(size=500), "b": rng.normal(size=500)})
        table.to_parquet(tmp_path / "large.parquet")
        return tmp_path / "large.parquet"

    def test_rows_that_do_not_fit_are_read_chunk_by_chunk(self, run, monkeypatch, parquet):
        asked = []

        def fit_em(data, components, **options):
            asked.append(data)
            raise DataError("enough")

        monkeypatch.setattr("bayesgmm.em.fit.fit_em", fit_em)
        status, _, err = run("fit", parquet, "-k", "2")
        assert (status, err) == (1, "Left out, since not numeric: word.\nError: enough.\n")
        monkeypatch.setattr("bayesgmm.data.memory.memory_for_rows", lambda: 1000)
        run("fit", parquet, "-k", "2", "--missing", "drop", "--quiet")
        in_memory, stream = asked
        assert isinstance(in_memory, PreparedData)
        assert isinstance(stream, Stream)
        assert (stream.features, stream.about.missing) == (("a", "b"), "drop")

    def test_the_fit_is_the_same(self, run, monkeypatch, parquet):
        run("fit", parquet, "-k", "1", "--quiet", "--out", "whole")
        monkeypatch.setattr("bayesgmm.data.memory.memory_for_rows", lambda: 1000)
        assert run("fit", parquet, "-k", "1", "--quiet", "--out", "chunks")[0] == 0
        assert load("chunks/fit.nc").log_likelihood == pytest.approx(load("whole/fit.nc").log_likelihood, rel=1e-12)

    def test_what_is_no_parquet(self, run, tmp_path):
        (tmp_path / "words.parquet").write_text("words")
        status, _, err = run("fit", "words.parquet", "-k", "2")
        assert status == 1
        assert "'words.parquet' is not a Parquet file, or is damaged" in err


class TestSelect:
    def test_prints_and_writes(self, run, tmp_path):
        status, out, err = run("select", "galaxies", "-k", "2:4", "--structures", "all", "--report", "some/page.html")
        assert (status, err) == (0, "")
        assert (
            "Selection by BIC: 6 cells (2 to 4 components, EII, VII), 82 rows x 1 column, for which a structure is EII"
            in out
        )
        assert "BIC chooses 3 components, spherical (VII) (442.2)." in out
        assert out.splitlines()[-1] == "  some/page.html"
        page = (tmp_path / "some" / "page.html").read_text()
        assert "bayesgmm select galaxies -k 2:4 --structures all --report some/page.html" in page

    @pytest.mark.parametrize(
        ("given", "numbers"), [("3", [3]), ("2,4", [2, 4]), ("1:3", [1, 2, 3]), ("4,1:2", [1, 2, 4])]
    )
    def test_numbers_of_components(self, run, monkeypatch, given, numbers):
        asked = []

        def select(data, n_components, **options):
            asked.append((n_components, options))
            raise DataError("enough")

        monkeypatch.setattr("bayesgmm.selection.select", select)
        status, out, err = run("select", "faithful", "-k", given, "--structures", "tied, VEV", "--criterion", "icl")
        assert (status, out, err) == (1, "", "Error: enough.\n")
        assert asked == [(numbers, {"structures": ["tied", "VEV"], "criterion": "icl", "seed": 0, "progress": False})]

    def test_bayes(self, run, monkeypatch):
        asked = []

        def with_posteriors(self, n_survivors, **options):
            asked.append((n_survivors, options))
            return self

        monkeypatch.setattr("bayesgmm.selection.Selection.with_posteriors", with_posteriors)
        arguments = ["-k", "2", "--structures", "full", "--bayes", "--survivors", "2", "--draws", "7"]
        status, _, _ = run("select", "galaxies", *arguments)
        assert status == 0
        assert asked == [(2, {"draws": 7, "tune": None, "chains": 4, "progress": False})]

    @pytest.mark.parametrize(
        ("arguments", "status", "said"),
        [
            (["-k", "x"], 2, "'x' is neither a number, nor 1:9, nor 2,3,5."),
            (["-k", "1:"], 2, "is neither a number"),
            (["-k", "0:3"], 2, "'0:3' must lie between 1 and 1000 and go upwards"),
            (["-k", "4:2"], 2, "go upwards, as 1:9."),
            (["-k", "1:99999999999"], 2, "must lie between 1 and 1000"),
            (["--criterion", "waic"], 2, "'waic' is not one of"),
            (["--structures", "full,round"], 2, "'round' is not known; use one of full, tied"),
            (["--report", "page.txt"], 1, "--report 'page.txt' does not end in .html."),
        ],
    )
    def test_refusals(self, run, arguments, status, said):
        found, out, err = run("select", "galaxies", *arguments)
        assert (found, out) == (status, "")
        assert said in err
        assert "Traceback" not in err


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["absent.csv"], "there is no file 'absent.csv'."),
            (["fathful"], "no data set of that name (faithful, iris, galaxies, acidity)."),
            (["empty.csv"], "'empty.csv' is empty."),
            (["words.csv"], "'words.csv' has no numeric column; it has a, b."),
            (["ragged.csv"], "every row needs one field for each column."),
            (["."], "is a folder; name a file."),
            (
                ["faithful", "--columns", "eruptions,length"],
                "no column named 'length'; the table has eruptions, waiting.",
            ),
            (["faithful", "--out", "empty.csv"], "--out 'empty.csv' is a file; name a folder."),
            (["faithful", "--out", "empty.csv/x"], "--out 'empty.csv/x' cannot be written to: Not a directory."),
        ],
    )
    def test_one_sentence(self, run, tmp_path, arguments, said):
        (tmp_path / "empty.csv").write_text("")
        (tmp_path / "words.csv").write_text("a,b\nx,y\n")
        (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
        status, out, err = run("fit", *arguments, "-k", "2")
        assert (status, out) == (1, "")
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
        assert said in err

    def test_a_failure_leaves_no_empty_folder(self, run, tmp_path):
        table = tmp_path / "few.csv"
        table.write_text("a,b\n1,2\n3,4\n")
        (tmp_path / "kept").mkdir()
        for folder in ("new", "kept"):
            assert run("fit", "few.csv", "-k", "3", "--out", folder)[0] == 1
        assert not (tmp_path / "new").exists()
        assert (tmp_path / "kept").exists()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["fit", "faithful"], "Missing option '-k'"),
            (["fit", "faithful", "-k", "0"], "0 is not in the range"),
            (["fit", "faithful", "-k", "2", "--chains", "100000"], "'--chains': 100000 is not in the range 1<=x<=1000"),
            (["select", "faithful", "--bayes", "--draws", "0"], "'--draws': 0 is not in the range"),
            (["fit", "faithful", "-k", "2", "--reg-covar", "-1"], "'--reg-covar': -1.0 is not in the range x>=0"),
            (["fit", "faithful", "-k", "2", "--structure", "all"], "'all' is not known; use one of full, tied"),
            (["frobnicate"], "No such command 'frobnicate'"),
        ],
    )
    def test_commands_that_make_no_sense(self, run, arguments, said):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert said in err

    @pytest.mark.parametrize("stopped", [Interrupted, KeyboardInterrupt])
    def test_interrupted(self, run, monkeypatch, stopped):
        def stop(*_arguments, **_options):
            raise stopped

        monkeypatch.setattr("bayesgmm.em.fit.fit_em", stop)
        status, out, err = run("fit", "faithful", "-k", "2")
        assert (status, out) == (130, "")
        assert err.strip() == "Interrupted; what was not finished has not been written."

    def test_ctrl_c_is_not_swallowed_by_a_sampler(self, run, monkeypatch):
        def sample(*_arguments, **_options):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                pytest.fail("taken as a wish for fewer draws")

        monkeypatch.setattr("bayesgmm.bayes.fit_bayes", sample)
        before = signal.getsignal(signal.SIGINT)
        assert run("compare", "faithful", "-k", "2")[0] == 130
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_disk_that_is_full(self, run, monkeypatch, tmp_path):
        def fail(*_arguments, **_options):
            raise OSError(28, "No space left on device", "out/fit.nc")

        monkeypatch.setattr("bayesgmm.storage.save", fail)
        status, _, err = run("fit", "faithful", "-k", "2", "--out", "out")
        assert (status, err) == (1, "Error: cannot read or write 'out/fit.nc': No space left on device.\n")


class TestWords:
    """Messages are written for Python; what they say of arguments is said of options, as they were typed."""

    @pytest.mark.parametrize(
        ("given", "python", "words"),
        [
            (["-k", "9"], "too few for n_components=9; use fewer", "too few for -k 9; use fewer"),
            (["-k9"], "too few for n_components=9", "too few for -k 9"),
            (["--components=9"], "too few for n_components=9", "too few for --components 9"),
            (["--method", "laplace"], "sampler='laplace' fails; use 'nuts'", "--method laplace fails; use 'nuts'"),
            (["--sampler", "laplace"], "sampler='laplace' fails", "--sampler laplace fails"),
            ([], "set reg_covar=1e-3 or prior='default'", "set --reg-covar 1e-3"),
            ([], "structure='EEV' of max_structure='x'", "--structure EEV of max_structure='x'"),
            ([], "draws=20 in 3 chains do not fit", "--draws 20 in 3 chains do not fit"),
            ([], "checkpoint='run.nc' must end in .zarr", "--checkpoint 'run.nc' must end in .zarr"),
            ([], "seed=-1 must not be negative", "--seed -1 must not be negative"),
            ([], "column 'seed=3' has 3 missing values", "column 'seed=3' has 3 missing values"),
        ],
    )  # fmt: skip
    def test_arguments_are_options(self, given, python, words):
        assert in_options(python, given) == words

    def test_in_warnings_too(self, run, monkeypatch, faithful_em):
        def fit_em(*_arguments, **_options):
            warnings.warn("use n_components=1 or reg_covar=1e-3", DegenerateFitWarning, stacklevel=2)
            return faithful_em

        monkeypatch.setattr("bayesgmm.em.fit.fit_em", fit_em)
        assert run("fit", "faithful", "-k", "2")[2] == "Warning: use -k 1 or --reg-covar 1e-3.\n"

    def test_reg_covar(self, run, monkeypatch):
        asked = []

        def refuse(*_arguments, **options):
            asked.append(options.get("reg_covar"))
            raise DataError("enough")

        monkeypatch.setattr("bayesgmm.em.fit.fit_em", refuse)
        monkeypatch.setattr("bayesgmm.selection.select", refuse)
        for command in (["fit", "faithful", "-k", "2"], ["compare", "faithful", "-k", "2"], ["select", "faithful"]):
            run(*command)
            run(*command, "--reg-covar", "0.01")
        assert asked == [None, 0.01] * 3


class TestDefects:
    """What nobody foresaw is a sentence too; a traceback is for whoever mends the package."""

    @pytest.fixture
    def broken(self, monkeypatch):
        def fail(*_arguments, **_options):
            raise self.raised

        monkeypatch.setattr("bayesgmm.em.fit.fit_em", fail)

    def test_an_error_that_nobody_foresaw(self, run, broken):
        self.raised = ZeroDivisionError("division by zero.\nand more")
        status, out, err = run("fit", "faithful", "-k", "2")
        assert (status, out) == (1, "")
        assert err == (
            "Error: something went wrong that should not (ZeroDivisionError: division by zero). "
            "Please report it, with the command and its data. BAYESGMM_DEBUG=1 shows where it happened.\n"
        )

    def test_a_traceback_on_demand(self, monkeypatch, broken):
        self.raised = ZeroDivisionError()
        monkeypatch.setenv("BAYESGMM_DEBUG", "1")
        with pytest.raises(ZeroDivisionError):
            main(["fit", "faithful", "-k", "2"])

    def test_too_little_memory(self, run, broken):
        self.raised = MemoryError()
        status, out, err = run("fit", "faithful", "-k", "2")
        assert (status, out) == (1, "")
        assert err.startswith("Error: there is not enough memory. Use fewer rows")

    def test_a_reader_that_has_had_enough(self):
        code = "import sys; from bayesgmm.cli import main; main(['datasets'])"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        ) as running:
            running.stdout.close()
            assert running.stderr.read() == b""


class TestProgress:
    """On a terminal a line says what is done; a sampler that shows the time left has the line to itself."""

    @pytest.fixture
    def on_a_terminal(self, monkeypatch):
        """Called by the test itself: the error stream of a test is another one than that of its fixtures."""

        def pretend(*, is_output_a_file=False):
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
            monkeypatch.setattr(sys.stdout, "isatty", lambda: not is_output_a_file)
            monkeypatch.setenv("TERM", "xterm")

        return pretend

    def test_the_sampler_shows_its_own(self, run, quick_posterior, on_a_terminal):
        on_a_terminal()
        status, _, err = run("compare", "faithful", "-k", "2")
        assert status == 0
        assert quick_posterior[0][2]["progress"] is True
        assert "sampling the posterior:\n" in err

    def test_nothing_but_results_goes_into_a_file(self, run, quick_posterior, on_a_terminal):
        on_a_terminal(is_output_a_file=True)
        status, out, _ = run("compare", "faithful", "-k", "2")
        assert status == 0
        assert quick_posterior[0][2]["progress"] is False
        assert out.startswith("EM against the posterior")

    def test_quiet(self, run, quick_posterior, on_a_terminal):
        on_a_terminal()
        status, _, err = run("compare", "faithful", "-k", "2", "--quiet")
        assert (status, err) == (0, "")
        assert quick_posterior[0][2]["progress"] is False


class TestHelp:
    def test_datasets(self, run):
        status, out, _ = run("datasets")
        assert status == 0
        assert [line.split()[0] for line in out.splitlines()] == ["faithful", "iris", "galaxies", "acidity"]

    def test_version(self, run):
        assert run("--version")[:2] == (0, f"bayesgmm {bayesgmm.__version__}\n")

    @pytest.mark.parametrize(
        "arguments", [["--help"], ["compare", "-h"], ["fit", "--help"], ["select", "-h"], ["datasets", "-h"]]
    )
    def test_help_has_examples(self, run, arguments):
        status, out, _ = run(*arguments)
        assert status == 0
        assert "Examples:\n" in out
        assert max(map(len, out.splitlines())) <= 100

    def test_help_says_what_the_status_means(self, run):
        out = run("--help")[1]
        assert [line.split()[0] for line in out.partition("Exit status:\n")[2].splitlines()] == ["0", "1", "2", "130"]

    def test_as_a_module_without_heavy_libraries(self):
        code = (
            "import sys; sys.argv = ['bayesgmm', '--help']\n"
            "import atexit, runpy\n"
            "heavy = {'pymc', 'matplotlib', 'numba', 'numpy', 'pandas', 'arviz', 'rich'}\n"
            "atexit.register(lambda: print('loaded', sorted(heavy & set(sys.modules))))\n"
            "runpy.run_module('bayesgmm', run_name='__main__')"
        )
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "Usage: bayesgmm [OPTIONS] COMMAND" in found.stdout
        assert found.stdout.splitlines()[-1] == "loaded []"
