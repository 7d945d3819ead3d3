//! The columns of the table: their order and names are a promise (README, "Records"). New ones go to the
//! end.
//!
//! They are named as the fields of the JSON form; what is inside another object there has that
//! object's name in front (`oncpu.pid` is `oncpu_pid`).

/// Declares the columns once, in their order: for each its place and its name.
macro_rules! columns {
    ($($column:ident $name:literal)*) => {
        /// A column's place.
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Column {
            $($column,)*
        }

        /// The names of all columns, in their order.
        pub(crate) const NAMES: [&str; [$($name),*].len()] = [$($name),*];
    };
}

columns! {
    Type "type"
    Time "time"
    KtimeNs "ktime_ns"
    Cookie "cookie"
    Netns "netns"
    Family "family"
    Laddr "laddr"
    Lport "lport"
    Raddr "raddr"
    Rport "rport"
    OldState "old_state"
    NewState "new_state"
    DwellNs "dwell_ns"
    OncpuPid "oncpu_pid"
    OncpuTid "oncpu_tid"
    OncpuComm "oncpu_comm"
    CgroupId "cgroup_id"
    Mptcp "mptcp"
    State "state"
    CloseWaitNs "close_wait_ns"
    CloseWaitIs "close_wait_is"
    CloseWaitAtMostNs "close_wait_at_most_ns"
    RecvQ "recv_q"
    SendQ "send_q"
    Verdict "verdict"
    Owners "owners"
    OwnerPids "owner_pids"
    OwnerPid "owner_pid"
    OwnerComm "owner_comm"
    OwnerExe "owner_exe"
    OwnerCmdline "owner_cmdline"
    OwnerUid "owner_uid"
    OwnerFds "owner_fds"
    OwnerStarted "owner_started"
    OwnerUnit "owner_unit"
    OwnerContainer "owner_container"
    OwnerCgroup "owner_cgroup"
    OwnerInherited "owner_inherited"
    OwnerEvidence "owner_evidence"
    OpenedByPid "opened_by_pid"
    OpenedByTid "opened_by_tid"
    OpenedByComm "opened_by_comm"
    OpenedByHow "opened_by_how"
    OpenedByTime "opened_by_time"
    OpenedByStack "opened_by_stack"
    OpenedByStackIsCut "opened_by_stack_is_cut"
    EofReadByPid "eof_read_by_pid"
    EofReadByTid "eof_read_by_tid"
    EofReadByComm "eof_read_by_comm"
    EofReadByTime "eof_read_by_time"
    EofReadByStack "eof_read_by_stack"
    EofReadByStackIsCut "eof_read_by_stack_is_cut"
    How "how"
    ClosedByPid "closed_by_pid"
    ClosedByComm "closed_by_comm"
    ClosedByUnit "closed_by_unit"
    ClosedByContainer "closed_by_container"
}
