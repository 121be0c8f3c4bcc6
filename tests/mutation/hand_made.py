"""Mistakes that others have made, made here: each with the test that must notice it.

In one place of a pure Python module, `old` becomes `new`. `bug`: whose it was, as in the field notes; else what
would go wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

FIELD = "tests/backup/test_field_notes.py::"
STATES = "tests/crash/test_states.py::"


@dataclass(frozen=True)
class Mutant:
    bug: str
    file: str
    old: str
    new: str
    test: str


MUTANTS = [
    Mutant(
        "the manifest is cut later than the log (RocksDB 7836, Pebble 5142)",
        "engine.py",
        "        return cut.finish(self.rotation)",
        "        cut.version = self.store.version\n        return cut.finish(self.rotation)",
        FIELD + "test_log_and_manifest_are_cut_at_one_moment",
    ),
    Mutant(
        "the log is not sealed by the cut: its end is anywhere (RocksDB 12670)",
        "journal/rotation.py",
        "if active is not None and active.last_seqno:",
        "if False and active is not None:",
        FIELD + "test_no_record_is_cut_in_the_middle",
    ),
    Mutant(
        "the log is linked before it is synced (RocksDB 12731)",
        "cut.py",
        "            return replace(journal, **rotation.finish(self._unfinished[journal.number]))",
        "            from fjeld.kernel.checksum import file_xxh128\n\n"
        "            size_bytes, digest = file_xxh128(self._unfinished[journal.number].writer.path)\n"
        "            return replace(journal, size_bytes=size_bytes, xxh128=digest)",
        FIELD + "test_the_log_is_synced_before_it_is_linked",
    ),
    Mutant(
        "a slow delete that truncates first (RocksDB 4093)",
        "manifest/live_file.py",
        "                files.unlink(path)\n",
        "                os.chmod(path, 0o644)\n                files.truncate(path, 0)\n                files.unlink(path)\n",
        FIELD + "test_deleting_in_the_source_never_changes_the_copy",
    ),
    Mutant(
        "files are let go of before they are linked (RocksDB 7369)",
        "backup/checkpoint.py",
        "            making.plan()\n",
        "            making.plan()\n            cut.release()\n",
        FIELD + "test_a_file_is_not_deleted_while_it_is_being_linked",
    ),
    Mutant(
        "the copy states the version of a later moment (RocksDB 1169, 12882)",
        "backup/making.py",
        "        self._version = self._as_copy(version)\n",
        "        self._version = self._as_copy(self._source.store.version)\n",
        FIELD + "test_log_and_manifest_are_cut_at_one_moment",
    ),
    Mutant(
        "what was ingested is missing (Pebble 5819)",
        "manifest/version.py",
        "        for table in self.tables():\n            yield table.record",
        "        for table in self.tables():\n            if table.min_seqno == table.max_seqno:\n                continue\n"
        "            yield table.record",
        FIELD + "test_what_was_ingested_and_not_flushed_is_in_the_copy",
    ),
    Mutant(
        "a link that fails is fatal (RocksDB 9627)",
        "backup/linker.py",
        "        # another device, too many links, no right to link, no links at all: then a copy\n",
        "        if any(outcomes):\n            raise OSError(max(outcomes), os.strerror(max(outcomes)))\n",
        FIELD + "test_a_link_that_fails_becomes_a_copy",
    ),
    Mutant(
        "corruption is copied without a word (RocksDB 12200, etcd 18340)",
        "backup/linker.py",
        "        if size_bytes != self._record.size_bytes or xxh128 not in",
        "        if False and xxh128 not in",
        FIELD + "test_a_corrupt_file_is_not_copied_in_silence",
    ),
    Mutant(
        "the target has its name before its contents are synced (RocksDB, a fork of fjall)",
        "backup/staging.py",
        "        sync_directories([*folders, self.path])\n",
        "        sync_directories([self.path])\n",
        FIELD + "test_contents_are_synced_before_the_target_has_its_name",
    ),
    Mutant(
        "the parent is never synced (RocksDB)",
        "backup/staging.py",
        "        files.sync_directory(self._parent)\n",
        "",
        FIELD + "test_contents_are_synced_before_the_target_has_its_name",
    ),
    Mutant(
        "left-overs after an error (RocksDB, a fork of fjall)",
        "backup/staging.py",
        "            shutil.rmtree(self._target, ignore_errors=True)\n        self._remove()",
        "            shutil.rmtree(self._target, ignore_errors=True)",
        FIELD + "test_a_failure_leaves_nothing",
    ),
    Mutant(
        "deleted keys come back (Badger 521, 739)",
        "maintenance/flush.py",
        "nothing_beneath = not any(state.levels)",
        "nothing_beneath = True",
        FIELD + "test_removed_keys_do_not_come_back",
    ),
    Mutant(
        "the copy has the identity of the original (Litestream 781, etcd 16028)",
        "backup/making.py",
        "            id=self._folder.keyspace_id,",
        "            id=self._cut.version.id,",
        FIELD + "test_identities_are_never_used_twice",
    ),
    Mutant(
        "partition options are lost (svix/diom 73)",
        "manifest/state.py",
        '            options=options_from_json(fields.take("options")),',
        '            options=options_from_json(fields.take("options")) and PartitionOptions(),',
        FIELD + "test_partition_options_are_kept",
    ),
    Mutant(
        "partitions flushed one after the other tear a batch (fjallstream)",
        "maintenance/flush.py",
        "others <= last + 1",
        "others < last",
        STATES + "test_a_flush_of_one_partition_does_not_tear_a_batch",
    ),
    Mutant(
        "the copy depends on its source (Paimon 9867, 10883)",
        "backup/linker.py",
        "        outcomes = files.link_many([source + name for name in names], [target + name for name in names])",
        "        outcomes = [os.symlink(source + name, target + name) or 0 for name in names]",
        FIELD + "test_the_source_can_be_deleted",
    ),
    Mutant(
        "a retired journal goes while it is copied (fjall's request)",
        "cut.py",
        "            held += store.live_journals()\n",
        "",
        FIELD + "test_a_retired_journal_is_not_dropped_under_a_backup",
    ),
    Mutant(
        "a target that exists is replaced",
        "backup/staging.py",
        "files.rename_noreplace(",
        "files.rename(",
        "tests/laws/test_law4_publish.py::test_a_rename_never_replaces",
    ),
    # ---- restores, folders of checkpoints, exports ----
    Mutant(
        "what is restored has the identity of its source (Litestream 781, etcd 16028)",
        "backup/restore.py",
        "        id=str(uuid.uuid4()),\n",
        "        id=version.id,\n",
        FIELD + "test_every_kind_has_an_identity_of_its_own",
    ),
    Mutant(
        "corruption is restored (etcd 18340)",
        "backup/restore.py",
        "                if moved:  # what was copied was compared as it was copied\n",
        "                if False:\n",
        FIELD + "test_corruption_is_not_found_only_when_it_is_needed",
    ),
    Mutant(
        "a restore takes the old one away first (BackupEngine)",
        "backup/restore.py",
        "        staging = RestoreStaging(self._target)\n",
        "        shutil.rmtree(self._target, ignore_errors=True)\n        staging = RestoreStaging(self._target)\n",
        FIELD + "test_corruption_is_not_found_only_when_it_is_needed",
    ),
    Mutant(
        "an import forgets the options (svix/diom 73)",
        "export/importer.py",
        "                options=head.options,\n",
        "                options=PartitionOptions(),\n",
        "tests/backup/test_purge_and_open.py",
    ),
    Mutant(
        "an expired checkpoint is there in part (Paimon)",
        "backup/removal.py",
        "    files.rename(path, doomed)\n    files.sync_directory(parent)\n    delete_tree(doomed)\n",
        "    delete_tree(path)\n",
        STATES + "test_what_a_power_cut_leaves[folder of checkpoints]",
    ),
    Mutant(
        "the newest checkpoint is passed over where too many files are open",
        "backup/checkpoint_folder.py",
        "error.errno not in OF_THE_CHECKPOINT",
        "error.errno is ...",
        "tests/backup/test_checkpoint_folder.py",
    ),
    Mutant(
        "a restore is published before its names are on disk",
        "backup/restore_staging.py",
        "        sync_directories([*folders, self.path])\n",
        "        del folders\n",
        STATES + "test_what_a_power_cut_leaves[restores]",
    ),
    Mutant(
        "an export has its name before it is on disk",
        "export/sink.py",
        "        self._file.sync()\n",
        "",
        STATES + "test_what_a_power_cut_leaves[exports]",
    ),
    # ---- the manifest, journals and opening ----
    Mutant(
        "an edit counts before it is on disk",
        "manifest/log.py",
        "        self._file.append(record)\n        self._file.sync()\n",
        "        self._file.append(record)\n",
        "tests/laws/test_law3_edits.py::test_an_edit_is_synced_before_it_is_visible",
    ),
    Mutant(
        "CURRENT is not brought to disk",
        "manifest/current.py",
        "    files.sync_directory(directory)\n",
        "",
        "tests/laws/test_law4_publish.py",
    ),
    Mutant(
        "a manifest that may end anywhere is appended to",
        "manifest/log.py",
        "        self.broken = True\n        self._file.append(record)",
        "        self._file.append(record)",
        "tests/manifest/test_log.py",
    ),
    Mutant(
        "a number is given twice",
        "manifest/recovery.py",
        "next_file=max(version.next_file, max(seen) + 1),",
        "next_file=version.next_file,",
        "tests/manifest/test_recovery.py::test_no_number_that_was_seen_is_given_again",
    ),
    Mutant(
        "a missing file is not noticed",
        "manifest/recovery.py",
        "    _require_present(live_tables - tables, names.table_path)\n",
        "",
        "tests/manifest/test_recovery.py::test_a_missing_table_is_named",
    ),
    Mutant(
        "a journal's name is not brought to disk",
        "journal/rotation.py",
        "mapped=self._mapped, ready=True)",
        "mapped=self._mapped, ready=False)",
        "tests/laws/test_law5_durability.py",
    ),
    Mutant(
        "a closing keyspace retires a journal that is being sealed",
        "journal/rotation.py",
        "        with self._switch_lock, self._finish_lock, self._sync_lock:\n            active = ",
        "        with suppress(RuntimeError):\n            active = ",
        "tests/interleaving/test_every_pair.py::test_a_retired_journal_is_not_sealed_afterwards",
    ),
    Mutant(
        "what recovery shows is not on disk",
        "opening.py",
        "    files.sync_file(path)\n    size_bytes",
        "    size_bytes",
        STATES + "test_what_recovery_has_shown_stays",
    ),
    Mutant(
        "records behind a torn journal stay",
        "opening.py",
        "        _delete_useless(path, read)\n",
        "",
        "tests/crash/test_torn.py",
    ),
    Mutant(
        "damage passes for a torn tail",
        "recovery/replaying.py",
        "            _require_unpersisted(reader, later, open_journal, known)\n",
        "",
        "tests/crash/test_torn.py",
    ),
]
