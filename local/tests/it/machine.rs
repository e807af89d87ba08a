//! The store's conditions and the pure session machine are the same decision, for every class of input.

use serde_json::json;
use shared::account::{Epoch, UserId};
use shared::clock::Timestamp;
use shared::concurrency::Concurrency;
use shared::config::Tables;
use shared::session::{
    AuthenticationMethods, Decision, Generation, Kind, KindLifetimes, Lifetimes, Presented, RetryKey, Session,
    SessionId,
};
use shared::store::{Rotation, Store};

use crate::harness::{AppSession, Stack, retry_key};

const LIFETIMES: Lifetimes = Lifetimes {
    browser: KindLifetimes { access: 1800, idle: 1800, absolute: 86_400 },
    app: KindLifetimes { access: 900, idle: 2_592_000, absolute: 15_552_000 },
    refresh_grace: 10,
};
const START: Timestamp = Timestamp::from_unix(4_102_444_800);

fn store(stack: &Stack) -> Store {
    let client = stack.aws().dynamodb();
    Store::new(client, Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() }, Concurrency::Many)
}

fn key(number: u8) -> RetryKey {
    RetryKey::from_hash([number; 32])
}

fn session(kind: Kind, recent_keys: [Option<RetryKey>; 3], started: u64) -> Session {
    let lifetimes = LIFETIMES.of(kind);
    let expires_at = START.plus(lifetimes.absolute);
    Session {
        id: SessionId::random(),
        user_id: UserId::from_bytes([2; 16]),
        kind,
        generation: Generation::from_number(10),
        epoch: Epoch::FIRST,
        created_at: START,
        authenticated_at: START,
        methods: AuthenticationMethods::PASSWORD,
        rotated_at: START.plus(started),
        used_at: START.plus(started),
        idle_expires_at: START.plus(started + lifetimes.idle).min(expires_at),
        expires_at,
        recent_keys,
        device: "a device".to_owned(),
    }
}

/// Points in time around every bound, for a session of `kind` that was last rotated `rotated` seconds after its start.
fn times(kind: Kind, rotated: u64) -> [u64; 4] {
    let lifetimes = LIFETIMES.of(kind);
    let end = (rotated + lifetimes.idle).min(lifetimes.absolute);
    [rotated, end - 1, end, lifetimes.absolute]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_condition_is_the_decision() {
    let stack = Stack::with_database(&[]).await;
    let store = store(&stack);
    let stored_keys = [[None; 3], [Some(key(1)), None, Some(key(3))], [None, Some(key(2)), None]];
    let mut rotations = 0;
    for kind in Kind::ALL {
        // The second one was rotated so late that its idle expiry is cut by the absolute one.
        for rotated in [0, LIFETIMES.of(kind).absolute - 100] {
            for recent_keys in stored_keys {
                for presented_kind in Kind::ALL {
                    for generation in [8, 9, 10, 11] {
                        for presented_key in [None, Some(key(1)), Some(key(2))] {
                            let before = session(kind, recent_keys, rotated);
                            for time in times(kind, rotated) {
                                let now = START.plus(time);
                                let presented =
                                    Presented { kind: presented_kind, generation: Generation::from_number(generation) };
                                store.create_session(&before, &[], &[]).await.expect("a session");
                                let decision = before.refresh(presented, presented_key, &LIFETIMES, now);
                                let rotation = store
                                    .rotate_session(before.reference(), presented, presented_key, &LIFETIMES, now)
                                    .await
                                    .expect("an answer");
                                match (decision, rotation) {
                                    (Decision::Rotate(expected), Rotation::Rotated(stored)) => {
                                        assert_eq!(stored, expected);
                                        rotations += 1;
                                    }
                                    (Decision::Rotate(expected), other) => panic!("{expected:?} but {other:?}"),
                                    (_, Rotation::Refused(stored)) => assert_eq!(stored, before),
                                    (decision, other) => {
                                        panic!("{decision:?} but {other:?}: {before:?} {presented:?} {presented_key:?}")
                                    }
                                }
                                if presented_kind != kind && generation != 10 {
                                    break;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(rotations > 50, "{rotations}");
    let missing = SessionId::random();
    let nowhere = session(Kind::App, [None; 3], 0).reference();
    let nowhere = shared::session::SessionRef { session_id: missing, ..nowhere };
    let presented = Presented { kind: Kind::App, generation: Generation::FIRST };
    let rotation = store.rotate_session(nowhere, presented, None, &LIFETIMES, START).await.expect("an answer");
    assert!(matches!(rotation, Rotation::Missing), "{rotation:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_needs_the_same_generation() {
    let stack = Stack::with_database(&[]).await;
    let store = store(&stack);
    let before = session(Kind::Browser, [None; 3], 0);
    store.create_session(&before, &[], &[]).await.expect("a session");
    let now = START.plus(1000);
    assert!(store.extend_session(&before, now.plus(1800), now).await.expect("an answer"));
    let behind = Session { generation: Generation::from_number(9), ..before.clone() };
    assert!(!store.extend_session(&behind, now.plus(1800), now).await.expect("an answer"));
    let after_its_end = START.plus(2800);
    assert!(!store.extend_session(&before, after_its_end.plus(1800), after_its_end).await.expect("an answer"));
    // Extending a deleted session does not bring it back.
    store.delete_session(before.reference()).await.expect("an answer");
    assert!(!store.extend_session(&before, now.plus(1800), now).await.expect("an answer"));
    let presented = Presented { kind: Kind::Browser, generation: Generation::from_number(10) };
    let rotation = store.rotate_session(before.reference(), presented, None, &LIFETIMES, now).await.expect("an answer");
    assert!(matches!(rotation, Rotation::Missing), "{rotation:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_an_older_epoch_is_never_revived() {
    // The table still holds it after "everywhere"; a rotation of it must not hand out tokens.
    let stack = Stack::with_database(&[]).await;
    let (alice, first) = stack.person_with_session("alice").await;
    let other = stack.app(&alice).await;
    let everywhere = json!({"everywhere": true});
    stack.client().post("/logout").bearer(&other.access).json(everywhere).send().await.expect(204);
    let key = retry_key();
    stack.refresh(&first.refresh, Some(&key)).await.expect_problem(401, "session_ended");
    // Not by a repetition either.
    stack.refresh(&first.refresh, Some(&key)).await.expect_problem(401, "session_ended");
    stack.me(&first.access).await.expect_problem(401, "session_ended");
    let fresh = stack.app(&alice).await;
    AppSession::of(&stack.refresh(&fresh.refresh, Some(&retry_key())).await.expect(200));
}
