"""How every person's server is started, wherever it runs, so that it searches what is saved and what leaves."""

_ROOM = "ailab_kernel.reports.jupyter"
GUARDS = (f"--ServerApp.jpserver_extensions={_ROOM}.serving=True",
          f"--ContentsManager.pre_save_hook={_ROOM}.saving.mark",
          f"--Exporter.preprocessors=['{_ROOM}.saving.Guarded']")  # fmt: skip
