"""Interruptions of Gibbs chains that come when a test says, not when somebody presses Ctrl-C."""

from bayesgmm.bayes import chain_threads


def stop_after(monkeypatch, count, error=KeyboardInterrupt):
    """Arrange for an interruption after so many batches of all chains."""
    run_in_threads = chain_threads.run_in_threads

    def stopped(run, chains, **options):
        left = count

        def run_so_far(chain, advance):
            def advance_so_far(steps):
                nonlocal left
                left -= 1
                return advance(steps) and left > 0

            if left > 0:
                run(chain, advance_so_far)

        run_in_threads(run_so_far, chains, **options)
        if error is not KeyboardInterrupt:
            raise error

    monkeypatch.setattr(chain_threads, "run_in_threads", stopped)
