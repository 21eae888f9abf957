//! The parsers on what real restic printed.

mod restic_recorded;

use restic_manager_core::restic::{
    Exit, InitReport, Line, Lock, SnapshotId, Stream, Version, count_ignored_snapshots, is_locked,
    parse_cat_config, parse_cat_lock, parse_check, parse_forget, parse_init, parse_line, parse_list_locks,
    parse_prune, parse_snapshots, parse_stats, parse_unlocked, sight_lock,
};
use restic_recorded::{VERSIONS, capabilities, run, runs};

const ALL: [&str; 3] = ["0.14.0", "0.18.0", "0.19.1"];
const NEW: [&str; 2] = ["0.18.0", "0.19.1"];

#[test]
fn the_version_is_read_with_and_without_json() {
    for version in ALL {
        for case in ["version", "version_json"] {
            let parsed = Version::from_output(&run(case, version).stdout).unwrap();
            assert_eq!(parsed.to_string(), version, "{case}");
        }
    }
}

#[test]
fn a_backup_ends_with_a_summary_that_names_its_snapshot() {
    for version in ALL {
        let facts = run("backup_ok_json", version).facts();
        let summary = facts.summary.unwrap();
        assert_eq!((summary.files_unmodified, summary.dirs_unmodified, summary.files_processed), (32, 9, 32));
        assert_eq!(summary.bytes_processed, 1_100_522);
        let id = summary.evidence().unwrap();
        assert_eq!(id.is_full(), capabilities(version).full_snapshot_id(), "{version}");
        let dry = run("backup_dry_run_json", version).facts().summary.unwrap();
        assert!(dry.dry_run && dry.snapshot_id.is_some() && dry.evidence().is_none());
    }
    for version in NEW {
        let unchanged = run("backup_skip_if_unchanged_json", version).facts().summary.unwrap();
        assert_eq!(unchanged.snapshot_id, None);
    }
}

#[test]
fn progress_lines_are_read_in_every_release() {
    let recorded = [
        ("backup_sighup_json", "0.14.0", 40, 800_000_000),
        ("backup_sigkill_json", "0.18.0", 16, 32_000_000),
        ("backup_sigint_json", "0.19.1", 16, 32_000_000),
    ];
    for (case, version, files, bytes) in recorded {
        let run = run(case, version);
        let progress =
            run.stdout.lines().filter_map(|line| match parse_line(Stream::Stdout, line.as_bytes()) {
                Line::Progress(progress) => Some(progress),
                _ => None,
            });
        let progress: Vec<_> = progress.collect();
        let (first, last) = (progress.first().unwrap(), progress.last().unwrap());
        assert!(first.percent < 100.0 && (last.percent - 100.0).abs() < 1e-9, "{version}: {last:?}");
        assert_eq!((last.files_done, last.files_total), (files, files));
        assert_eq!((last.bytes_done, last.bytes_total), (bytes, bytes));
    }
}

#[test]
fn unreadable_items_and_missing_includes_are_counted() {
    for version in ALL {
        assert_eq!(run("sniffer_trap_newline_json", version).facts().unreadable_items, 4, "{version}");
        let missing = run("backup_one_source_missing_json", version).facts().missing_includes;
        assert_eq!(missing.iter().collect::<Vec<_>>(), ["/nonexistent/src"]);
    }
}

#[test]
fn snapshots_are_listed_oldest_first_with_their_summary_where_there_is_one() {
    for version in ALL {
        let snapshots = parse_snapshots(&run("snapshots_json", version).stdout).unwrap();
        assert_eq!(snapshots.len(), 2);
        assert!(snapshots[0].time < snapshots[1].time);
        assert_eq!(snapshots[1].parent.as_ref(), Some(&snapshots[0].id));
        for snapshot in &snapshots {
            assert!(snapshot.id.is_full() && snapshot.id.agrees_with(&snapshot.short_id));
            assert_eq!((snapshot.hostname.as_str(), snapshot.username.as_str()), ("vm", "root"));
            assert_eq!(snapshot.paths, ["/lab/src"]);
            assert_eq!(snapshot.summary.is_some(), version != "0.14.0");
        }
        let many = parse_snapshots(&run("snapshots_many_json", version).stdout).unwrap();
        assert!(many.len() > 5 && many[0].tags == ["db", "n0"], "{version}");
        assert_eq!(parse_snapshots(&run("snapshots_zero_json", version).stdout).unwrap(), vec![]);
    }
    let size = parse_snapshots(&run("snapshots_json", "0.19.1").stdout).unwrap()[0].summary.clone().unwrap();
    assert_eq!(
        (size.total_files_processed, size.total_bytes_processed, size.data_added),
        (32, 1_100_522, 1_115_182)
    );
    assert_eq!(size.backup_end.millis_since(size.backup_start), 839);
}

#[test]
fn a_damaged_snapshot_is_noticed_although_the_list_exits_with_0() {
    for version in ALL {
        let run = run("snapshots_damaged_snapshot", version);
        assert_eq!(run.exit(), Exit::Code(0));
        assert_eq!(count_ignored_snapshots(&run.stderr), 1, "{version}");
    }
}

#[test]
fn stats_are_read_with_and_without_snapshots() {
    for version in ALL {
        let stats = parse_stats(&run("stats_raw_data_json", version).stdout).unwrap();
        assert!(stats.total_size > 1_200_000);
        assert_eq!((stats.snapshots_count, stats.total_blob_count), (2, Some(52)));
        assert_eq!(stats.total_uncompressed_size.is_some(), version != "0.14.0");
        let zero = parse_stats(&run("stats_zero_json_raw", version).stdout).unwrap();
        assert_eq!((zero.total_size, zero.snapshots_count), (0, 0));
        assert!(parse_stats(&run("stats_wrong_password_json", version).stdout).is_err());
    }
}

#[test]
fn forget_says_what_stays_and_what_was_to_go() {
    for version in ALL {
        let groups = parse_forget(&run("forget_ok_json", version).stdout).unwrap();
        assert!(groups.len() >= 2 && groups.iter().all(|group| group.tags.is_empty()), "{version}");
        let vm = groups.iter().find(|group| group.host == "vm" && group.paths == ["/lab/src"]).unwrap();
        assert_eq!(vm.keep.len(), 2);
        assert!(!vm.remove.is_empty() && vm.remove.iter().all(|snapshot| snapshot.id.is_full()));
        assert_eq!(parse_forget(&run("forget_tag_nomatch_json", version).stdout).unwrap(), vec![]);
        let with_prune = run("forget_prune_json", version);
        assert!(!parse_forget(&with_prune.stdout).unwrap().is_empty(), "text may follow the first line");
    }
}

#[test]
fn prune_says_what_remains() {
    for version in ALL {
        let report = parse_prune(&run("prune_ok", version).stdout);
        assert_eq!((report.remaining, report.total_prune), (Some(4_504_682), Some(4_505_731)), "{version}");
        assert_eq!((report.unused_after, report.finished), (Some(0), true));
        assert!(report.to_delete.is_some_and(|bytes| (4_000..5_000).contains(&bytes)));
        let dry = parse_prune(&run("prune_dry_run", version).stdout);
        assert_eq!((dry.remaining, dry.finished), (Some(4_504_682), false));
        let zero = parse_prune(&run("prune_zero", version).stdout);
        assert_eq!((zero.remaining, zero.total_prune, zero.finished), (Some(0), Some(0), true));
    }
}

#[test]
fn init_names_the_repository_and_adopts_an_existing_one() {
    for version in ALL {
        let text = run("init_new", version);
        assert_eq!(
            parse_init(&text.stdout, &text.stderr),
            Some(InitReport::Created { id: None }),
            "{version}"
        );
        let json = run("init_new_json", version);
        let Some(InitReport::Created { id }) = parse_init(&json.stdout, &json.stderr) else {
            panic!("{json:?}")
        };
        assert_eq!(id.is_some(), capabilities(version).json_init());
        for case in
            ["init_exists", "init_exists_json", "rest_rs13_ao_init_again", "rest_rustic_ao_init_again"]
        {
            let again = run(case, version);
            assert_eq!(
                parse_init(&again.stdout, &again.stderr),
                Some(InitReport::Adopted),
                "{case} {version}"
            );
        }
        let failed = run("rest_refused_init_json", version);
        assert_eq!(parse_init(&failed.stdout, &failed.stderr), None);
    }
}

#[test]
fn check_reports_damage_by_name() {
    for version in NEW {
        let good = run("check_ok_json", version);
        let good = parse_check(&good.stdout, &good.stderr);
        assert_eq!((good.num_errors, good.findings.len()), (Some(0), 0));
        let bad = run("check_damaged_pack_read_data_json", version);
        let bad = parse_check(&bad.stdout, &bad.stderr);
        assert!(bad.num_errors.unwrap() > 0 && bad.broken_packs.len() == 1, "{version}: {bad:?}");
        assert!(bad.findings[0].contains("contains 2 errors"), "{bad:?}");
        let refused = run("check_missing_repo_json", version);
        assert_eq!(parse_check(&refused.stdout, &refused.stderr).num_errors, Some(1), "no proof of damage");
    }
    for version in ALL {
        let extra = run("check_extra_garbage_pack_json", version);
        assert!(parse_check(&extra.stdout, &extra.stderr).suggest_prune, "{version}");
        let missing = run("check_missing_pack", version);
        let missing = parse_check(&missing.stdout, &missing.stderr);
        assert!(missing.findings[0].ends_with(": does not exist"), "{version}: {missing:?}");
    }
}

#[test]
fn locks_and_configuration_are_read() {
    for version in ALL {
        assert_eq!(parse_list_locks(&run("list_locks_three_stale", version).stdout).unwrap().len(), 3);
        assert_eq!(parse_list_locks(&run("list_locks", version).stdout).unwrap(), vec![]);
        let Lock { exclusive, hostname, username, pid, .. } =
            parse_cat_lock(&run("cat_lock_live", version).stdout).unwrap();
        assert!(exclusive && hostname == "vm" && username == "root" && pid > 12_000);
        let config = parse_cat_config(&run("cat_config", version).stdout).unwrap();
        assert_eq!((config.version, config.id.as_str().len()), (2, 64));
    }
    assert_eq!(parse_unlocked(&run("unlock_stale_after_sigkill", "0.18.0").stdout), Some(1));
    assert_eq!(parse_unlocked(&run("unlock_none", "0.14.0").stdout), None);
    assert_eq!(parse_unlocked(&run("unlock_none", "0.18.0").stdout), None);
}

#[test]
fn every_recorded_refusal_is_sighted_in_full_and_nothing_else_is() {
    let mut sighted = 0;
    for (version, _) in VERSIONS {
        let capabilities = capabilities(version);
        for run in runs(version).values() {
            let sighting = sight_lock(run.exit(), capabilities, &run.stderr);
            // Written apart from the parser: the refusal's first words, at a place where restic puts them.
            let refused =
                run.stderr.starts_with("unable to create lock in backend: repository is already locked")
                    || run.stderr.contains(
                        "\"message\":\"unable to create lock in backend: repository is already locked",
                    );
            assert_eq!(sighting.is_some(), refused, "{} {version}\n{}", run.case, run.stderr);
            assert_eq!(is_locked(run.exit(), capabilities, &run.stderr), refused, "{} {version}", run.case);
            let Some(sighting) = sighting else { continue };
            sighted += 1;
            assert_eq!(sighting.exclusive, run.stderr.contains("locked exclusively by"), "{}", run.case);
            assert!(
                run.stderr.contains(&format!("by PID {} on {} by root", sighting.pid, sighting.hostname))
            );
            assert!(sighting.created.starts_with("2026-11-23 ") && sighting.age_ms.is_some(), "{sighting:?}");
        }
    }
    assert!(sighted > 190, "{sighted}");
}

#[test]
fn a_short_id_is_resolved_by_the_list() {
    let short = run("backup_ok_json", "0.14.0").facts().summary.unwrap().snapshot_id.unwrap();
    let full = SnapshotId::new(format!("{short}{}", "0".repeat(56))).unwrap();
    assert!(!short.is_full() && full.agrees_with(&short));
}
