//! Short ids: lists print them, and commands take them.
//!
//! A short id is the beginning of an id, long enough to differ from the other ids of its list. Commands that only look
//! find it among the newest items. Commands that change something take it only if the same person's last list has printed
//! it: a newer item cannot take its place then. Nor can an item whose whole id is that short: they refuse it. One list of each
//! kind is remembered.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use inbox_aws::stores::Stores;
use inbox_core::event::EventKey;
use inbox_core::list_kind::ListKind;
use serde::{Deserialize, Serialize};

use crate::aws_error::{ResourceRef, WithResource};
use crate::private_directory::create_private_directory;
use crate::target::Target;

/// Shortest beginning of an id that is printed.
const LENGTH_MIN: usize = 8;
/// Ids up to this length are printed whole.
const WHOLE_MAX: usize = 24;

/// The last list of a kind that was printed: its items' whole ids.
#[derive(Debug, Serialize, Deserialize)]
struct LastList {
    /// The table that was listed, with its endpoint.
    table: String,
    ids: Vec<String>,
}

/// The part of an id that tells it from others of its kind: without provider, batch and kind of event.
fn own_part(id: &str) -> &str {
    match id.rsplit_once('/') {
        Some((batch, "completed")) => batch.rsplit_once('/').map_or(batch, |(_, own)| own),
        Some((_, own)) => own,
        None => id,
    }
}

/// The short forms of the ids of one list, in which an id may stand several times.
pub(crate) fn shorten(ids: &[String]) -> Vec<String> {
    ids.iter()
        .map(|id| {
            let own = own_part(id);
            let is_unique = |prefix: &str| !ids.iter().any(|it| it != id && is_meant(it, prefix));
            let ends = own.char_indices().map(|(end, _)| end).filter(|end| *end >= LENGTH_MIN);
            let mut prefixes = ends.filter_map(|end| own.get(..end));
            if own.len() <= WHOLE_MAX && is_unique(own) {
                return own.to_owned();
            }
            let short = prefixes.find(|prefix| is_unique(prefix));
            short.or_else(|| Some(own).filter(|own| is_unique(own))).unwrap_or(id).to_owned()
        })
        .collect()
}

/// Returns `true` if `id` can be meant by `short`: a beginning of the id, or of its own part.
fn is_meant(id: &str, short: &str) -> bool {
    own_part(id).starts_with(short) || id.starts_with(short)
}

/// The ids that `short` can mean: as lists print it, or else as the beginning of the batch that an event is of. In that order,
/// so that the short id of a batch's completion does not mean its alerts, too.
fn matching(ids: Vec<String>, short: &str) -> Vec<String> {
    let is_of_batch = |id: &String| {
        let key = EventKey::from_event_id(id);
        key.as_ref().and_then(EventKey::batch_id).is_some_and(|batch| batch.as_str().starts_with(short))
    };
    let (meant, others): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| is_meant(id, short));
    if meant.is_empty() { others.into_iter().filter(is_of_batch).collect() } else { meant }
}

/// Finds the one id among the newest items of a kind that begins with `short`; `None` if there is none.
///
/// # Errors
///
/// Several ids begin so.
pub(crate) async fn find(
    stores: &Stores,
    table: &ResourceRef,
    kind: ListKind,
    short: &str,
) -> anyhow::Result<Option<String>> {
    only_match(find_all(stores, table, kind, short).await?, short)
}

/// Finds all ids among the newest items of a kind that begin with `short`.
pub(crate) async fn find_all(
    stores: &Stores,
    table: &ResourceRef,
    kind: ListKind,
    short: &str,
) -> anyhow::Result<Vec<String>> {
    let places = stores.operator.newest_places(kind).await.with_resource(table)?;
    let ids = places.iter().filter_map(|place| kind.item_id(&place.pk, &place.sk));
    Ok(matching(ids.collect(), short))
}

/// Finds the whole id that a command means which changes something: `short` on the last printed list of this kind.
///
/// # Errors
///
/// The last list has no such id, or several.
pub(crate) fn on_last_list(target: &Target, kind: ListKind, short: &str) -> anyhow::Result<String> {
    find_on_last_list(target, kind, short)?.ok_or_else(|| not_on_last_list(short))
}

/// As [`on_last_list`]; `None` if the last list has no such id.
///
/// # Errors
///
/// The last list has several.
pub(crate) fn find_on_last_list(
    target: &Target,
    kind: ListKind,
    short: &str,
) -> anyhow::Result<Option<String>> {
    let table = table_name(target)?;
    let last = state_file(kind).and_then(|path| read_list(&path)).filter(|last| last.table == table);
    match_on_list(last.map(|last| last.ids).unwrap_or_default(), short)
}

fn match_on_list(ids: Vec<String>, short: &str) -> anyhow::Result<Option<String>> {
    // A whole id may be the beginning of another one.
    if ids.iter().any(|id| id == short) {
        return Ok(Some(short.to_owned()));
    }
    only_match(matching(ids, short), short)
}

/// The error for an id that is neither whole nor on the last printed list.
pub(crate) fn not_on_last_list(short: &str) -> anyhow::Error {
    anyhow!(
        "{short} is not a whole id, and the list of this kind that you printed last has none that begins so: use the whole \
         id, or list again"
    )
}

/// The error for an id that means one item on the last printed list, and is the whole id of another one, which its sender may
/// have chosen to be mistaken for the first.
pub(crate) fn means_two(short: &str, listed: &str, other: &str) -> anyhow::Error {
    anyhow!(
        "{short} begins {listed} on the list that you printed last, and is the id of {other}: use the whole id, or print a \
         list with {other} first"
    )
}

/// The only one of the ids that were found for `short`; `None` if there is none.
///
/// # Errors
///
/// There are several.
pub(crate) fn only_match(mut found: Vec<String>, short: &str) -> anyhow::Result<Option<String>> {
    found.sort();
    found.dedup();
    match found.as_slice() {
        [] | [_] => Ok(found.pop()),
        [one, other] => bail!("two ids begin with {short}: {one} and {other}"),
        [one, other, rest @ ..] => {
            bail!("{} ids begin with {short}: {one}, {other}, …", rest.len() + 2)
        }
    }
}

/// Remembers the ids of a printed list, instead of those of the last one of its kind. Without a place for it, short ids only look.
pub(crate) fn remember(target: &Target, kind: ListKind, ids: &[String]) {
    let (Some(path), Ok(table)) = (state_file(kind), table_name(target)) else { return };
    let list = LastList { table, ids: ids.to_vec() };
    // A list that is printed and not remembered is of use all the same.
    let _ = write_list(&path, &list);
}

/// The table, and where it is: the same name may exist in other accounts and at other endpoints.
fn table_name(target: &Target) -> anyhow::Result<String> {
    Ok(format!("{} {}", target.account.describe_endpoint("dynamodb"), target.inbox_table()?.name))
}

/// `~/.local/state/inboxctl/last-event-list.json`, or in `XDG_STATE_HOME`.
fn state_file(kind: ListKind) -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("inboxctl").join(format!("last-{}-list.json", kind.as_str())))
}

/// Reads a list that nobody else can have written.
fn read_list(path: &Path) -> Option<LastList> {
    let mut file = File::open(path).ok().filter(is_own)?;
    let mut json = Vec::new();
    file.read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Returns `true` if a file belongs to this user, who alone may write it.
#[cfg(unix)]
fn is_own(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner_and_mode = |file: &File| file.metadata().map(|data| (data.uid(), data.mode())).ok();
    // A new file belongs to this user: the standard library does not tell who that is.
    let user = tempfile::tempfile().ok().as_ref().and_then(owner_and_mode).map(|(user, _)| user);
    owner_and_mode(file).is_some_and(|(owner, mode)| Some(owner) == user && mode & 0o022 == 0)
}

/// On other systems, a home directory is its user's alone.
#[cfg(not(unix))]
fn is_own(_: &File) -> bool {
    true
}

fn write_list(path: &Path, list: &LastList) -> anyhow::Result<()> {
    let dir = path.parent().context("no directory")?;
    create_private_directory(dir)?;
    // Renamed into place, so that a list is never read half written.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&serde_json::to_vec(list)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(ids: &[&str]) -> Vec<String> {
        shorten(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn ids_are_as_short_as_their_list_allows() {
        let ids = [
            "fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96",
            "fynapse/event/a3efc743-ffff-463b-aa19-4dd9c45b5b96",
            "rightfoot/batch/5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83/completed",
            "rightfoot/batch/5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83/alert/7b6ff2ac-4779-4893-b5a8-d2c726d366bd",
        ];
        assert_eq!(short(&ids), ["a3efc743-a", "a3efc743-f", "5d3c6bbb", "7b6ff2ac"]);
        assert_eq!(short(&["fynapse/event/e-1", "fynapse/event/e-12"]), ["fynapse/event/e-1", "e-12"]);
        assert_eq!(short(&["payroll-2026-01"]), ["payroll-2026-01"]);
        assert_eq!(
            short(&["fynapse/event/b-1", "rightfoot/batch/b-1/completed"]),
            ["fynapse/event/b-1", "rightfoot/batch/b-1/completed"]
        );
    }

    #[test]
    fn an_event_is_found_by_its_batch_unless_another_ones_short_id_begins_so() {
        let [completed, alert] = ["rightfoot/batch/48aa/completed", "rightfoot/batch/48aa/alert/7b6f"];
        let found =
            |ids: &[&str], short| matching(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), short);
        assert_eq!(found(&[alert, "fynapse/event/a-48"], "48"), [alert]);
        assert_eq!(found(&[alert, completed], "48"), [completed], "as `events list` prints it");
        assert_eq!(found(&[alert, "rightfoot/batch/48ab/alert/8c"], "48").len(), 2);
        assert_eq!(found(&[alert], "aa"), [""; 0]);
    }

    #[test]
    fn a_short_id_means_one_id_or_none() {
        let found = |ids: &[&str]| only_match(ids.iter().map(|id| (*id).to_owned()).collect(), "a");
        assert_eq!(found(&[]).unwrap(), None);
        assert_eq!(found(&["a-1", "a-1"]).unwrap().as_deref(), Some("a-1"));
        assert_eq!(found(&["a-1", "a-2"]).unwrap_err().to_string(), "two ids begin with a: a-1 and a-2");
        assert_eq!(found(&["a-3", "a-1", "a-2"]).unwrap_err().to_string(), "3 ids begin with a: a-1, a-2, …");
    }
    #[test]
    fn a_whole_id_on_the_list_is_no_beginning_of_another_one() {
        let found = |short: &str| match_on_list(vec!["s-1".to_owned(), "s-12".to_owned()], short);
        assert_eq!(found("s-1").unwrap().as_deref(), Some("s-1"));
        assert_eq!(found("s-12").unwrap().as_deref(), Some("s-12"));
        assert_eq!(found("s-2").unwrap(), None);
        assert_eq!(found("s").unwrap_err().to_string(), "two ids begin with s: s-1 and s-12");
    }

    #[cfg(unix)]
    #[test]
    fn a_list_that_another_user_may_have_written_is_not_read() {
        use std::os::unix::fs::{PermissionsExt, chown};

        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("inboxctl/last-list.json");
        write_list(&path, &LastList { table: "t".to_owned(), ids: vec!["a-1".to_owned()] }).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        let read = || read_list(&path).map(|list| list.ids.concat());
        assert_eq!(read().as_deref(), Some("a-1"));
        for (mode, expected) in [(0o620, None), (0o602, None), (0o644, Some("a-1"))] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(read().as_deref(), expected, "{mode:o}");
        }
        // Only root may give a file away.
        if chown(&path, Some(65_534), None).is_ok() {
            assert_eq!(read(), None);
        }
    }
}
