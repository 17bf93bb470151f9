"""Command line of the transfer to central analysis."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mesems_mri.config import Access

transfer_app = typer.Typer(
    no_args_is_help=True, help="Bundles for central analysis: build, sign, send and verify them."
)

OutDir = Annotated[Path, typer.Argument(help="Output folder of a run.")]
Config = Annotated[
    Path | None, typer.Option(help="Trial configuration (YAML), whose block transfer is the default.")
]
Sites = Annotated[list[str] | None, typer.Option("--site", help="Only this site (repeat for several).")]
# Names and texts of the next five are those of `mesems_mri.config.Access`, compared by a test: an import here
# would slow down the start of every command.
Destination = Annotated[
    str,
    typer.Option("--to", help="A folder, sftp://user@host/folder or https://host; {site_id} is the site."),
]
TokenFile = Annotated[str, typer.Option(help="HTTPS: file with the bearer token.")]
CaFile = Annotated[str, typer.Option(help="HTTPS: certificate of the authority, if the system lacks it.")]
SshKeyFile = Annotated[str, typer.Option("--ssh-key", help="SFTP: private key; default: those of the user.")]
KnownHostsFile = Annotated[
    str, typer.Option("--known-hosts", help="SFTP: host keys; default: ~/.ssh/known_hosts.")
]


@transfer_app.command("keygen")
def _keygen(
    key_file: Annotated[Path, typer.Argument(help="File to write; the public key goes to KEY_FILE.pub.")],
) -> None:
    """Make the key with which a centre signs its bundles (Ed25519)."""
    from mesems_mri.transfer.keys import fingerprint, make_keys, public_path

    public = make_keys(key_file)
    typer.echo(f"private key  {key_file}  (keep it outside of the output folder, and give it to nobody)")
    typer.echo(f"public key   {public_path(key_file)}  (for the receiving side)")
    typer.echo(f"fingerprint  {fingerprint(public)}  (compare it by telephone)")


@transfer_app.command("build")
def _build(
    out_dir: OutDir,
    key_file: Annotated[
        str, typer.Option("--key", help="Private key that signs; {site_id} in it is the site.")
    ] = "",
    bids_dir: Annotated[Path | None, typer.Option(help="Raw BIDS folder; default: that of the run.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Visit schedule of the trial, whose patient IDs must not leave."),
    ] = None,
    site: Sites = None,
    config: Config = None,
) -> None:
    """Build and sign a bundle for every site with something new."""
    from mesems_mri.config import load_config
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.errors import UsageError
    from mesems_mri.runner.lock import read_holder
    from mesems_mri.transfer.build import BuildRequest, build

    holder = read_holder(Layout(out_dir.resolve()).run_lock)
    if holder and not holder.is_stale():
        msg = f"{out_dir}: a run is on, by {holder}; build when it has ended"
        raise UsageError(msg)
    rule = load_config(config).transfer
    key, default_sheet = key_file or rule.key_file, Path(rule.sheet) if rule.sheet else None
    if not key:
        msg = "transfer build: needs the key that signs; make one with mesems-mri transfer keygen, give --key"
        raise UsageError(msg)
    request = BuildRequest(
        out_dir=out_dir,
        key_file=key,
        bids_dir=bids_dir,
        sheet=sheet or default_sheet,
        sites=tuple(site or ()),
    )
    build(request, typer.echo)


@transfer_app.command("send")
def _send(
    context: typer.Context,
    out_dir: OutDir,
    destination: Destination = "",
    token_file: TokenFile = "",
    ca_file: CaFile = "",
    ssh_key_file: SshKeyFile = "",
    known_hosts_file: KnownHostsFile = "",
    site: Sites = None,
    give_up_after: Annotated[
        float, typer.Option(min=0, help="Seconds for which an unreachable destination is retried.")
    ] = 600,
    again: Annotated[
        bool, typer.Option("--again", help="Also send bundles that were sent before and have no receipt.")
    ] = False,
    config: Config = None,
) -> None:
    """Send pending bundles and collect receipts; may be interrupted and repeated at any moment."""
    from mesems_mri.errors import UsageError
    from mesems_mri.transfer.send import refuse_rejected, send

    access = _access(context, config)
    if not access.destination:
        msg = "transfer send: needs a destination; give --to, or transfer.destination in the configuration"
        raise UsageError(msg)
    sent = send(out_dir, access, typer.echo, sites=site or (), give_up_after_s=give_up_after, again=again)
    if not (sent.accepted or sent.delivered or sent.rejected):
        typer.echo("nothing to send: no bundle is pending")
    refuse_rejected(sent)


@transfer_app.command("status")
def _status(
    context: typer.Context,
    out_dir: OutDir,
    destination: Destination = "",
    token_file: TokenFile = "",
    ca_file: CaFile = "",
    ssh_key_file: SshKeyFile = "",
    known_hosts_file: KnownHostsFile = "",
    config: Config = None,
) -> None:
    """Show the state of every bundle: pending, sent, accepted, rejected; with --to collect receipts first."""
    from mesems_mri.transfer.send import collect_receipts, describe

    access = _access(context, config)
    if access.destination:
        collect_receipts(out_dir, access, lambda _: None)
    for line in describe(out_dir):
        typer.echo(line)


@transfer_app.command("verify")
def _verify(
    bundle: Annotated[Path, typer.Argument(help="Folder or archive of a bundle.")],
    public_key: Annotated[Path, typer.Option(help="Public key of its signer.")],
) -> None:
    """Verify a bundle with nothing but the public key: signature, files, hashes, rows and columns."""
    from mesems_mri.transfer.keys import fingerprint, read_public_key
    from mesems_mri.transfer.verify import verify_bundle

    key = read_public_key(public_key)
    manifest = verify_bundle(bundle, key)
    typer.echo(f"study {manifest.study_id}, site {manifest.site_id}, number {manifest.sequence}: valid")
    typer.echo(f"built {manifest.created:%Y-%m-%d %H:%M} UTC by mesems-mri {manifest.software_version}")
    typer.echo(f"signed with {fingerprint(key)}")
    for entry in manifest.files:
        typer.echo(f"{entry.sha256}  {entry.name}  ({entry.rows} rows, {len(entry.columns)} columns)")


def _access(context: typer.Context, config: Path | None) -> "Access":
    """Return the access of the configuration, with the options of the command that were given."""
    from mesems_mri.config import Access, load_config

    given = {name: context.params[name] for name in Access.model_fields if context.params[name]}
    return load_config(config).transfer.model_copy(update=given)
