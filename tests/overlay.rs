//! The overlay holds what AWS holds, and moto as it comes does not.
//!
//! Every sentence is asked of both: where plain moto began to pass, its part of the overlay could go.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
};
use world::{Account, World, eventually};

use crate::signed::{change, change_records, change_status, element, object, secrets};

/// Whether a world holds a sentence.
macro_rules! holds_here_and_not_in_plain_moto {
    ($($(#[$doc:meta])* $name:ident: $judge:path;)*) => {$(
        $(#[$doc])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            assert!($judge(World::shared()).await, "the overlay does not hold it");
            assert!(!$judge(World::plain()).await, "plain moto holds it by now: this part of the overlay can go");
        }
    )*};
}

holds_here_and_not_in_plain_moto! {
    delete_of_a_value_that_was_replaced_is_refused: refuses_stale_delete;
    of_many_who_replace_the_same_value_one_wins: lets_one_claim_win;
    batch_with_one_bad_change_changes_nothing: applies_all_or_nothing;
    create_over_another_value_is_refused: refuses_second_create;
    delete_names_its_values_in_any_order: takes_values_in_any_order;
    upper_case_names_are_the_same_names: takes_upper_case;
    values_that_are_no_values_are_refused: refuses_bad_values;
    change_is_pending_before_it_is_insync: is_pending_first;
    unknown_change_is_not_found: knows_no_unknown_change;
    value_without_a_stage_is_that_of_the_current_one: follows_current;
    version_put_after_a_move_takes_the_label_with_it: has_one_current;
    move_to_an_unknown_version_leaves_the_labels: keeps_labels_on_refusal;
    body_with_another_checksum_is_refused: checks_digests;
    copy_heeds_its_conditions: heeds_copy_conditions;
    part_of_an_upload_is_listed_with_its_checksum: lists_checksums_of_parts;
    key_that_is_not_there_is_hidden_from_who_may_not_list: hides_missing_keys;
    bucket_of_another_region_tells_where_it_is: redirects_between_regions;
}

fn name(account: &Account) -> String {
    format!("_spothost.{}", account.domain())
}

async fn refuses_stale_delete(world: &World) -> bool {
    let account = Account::of(world).await;
    let (at, name) = (world.aws(), name(&account));
    for value in ["\"one\"", "\"two\""] {
        assert_eq!(change_records(at, &account, &[change("UPSERT", &name, "TXT", &[value])]).await.0, StatusCode::OK);
    }
    let batch = [
        change("DELETE", &name, "TXT", &["\"one\""]),
        change("CREATE", &name, "TXT", &["\"three\""]),
        change("UPSERT", &account.domain(), "A", &["192.0.2.3"]),
    ];
    let (status, body) = change_records(at, &account, &batch).await;
    status == StatusCode::BAD_REQUEST && element(&body, "Code") == "InvalidChangeBatch" && body.contains("do not match")
}

async fn lets_one_claim_win(world: &World) -> bool {
    let account = Account::of(world).await;
    let (at, name) = (world.aws(), name(&account));
    change_records(at, &account, &[change("CREATE", &name, "TXT", &["\"0\""])]).await;
    let mut claims = JoinSet::new();
    for index in 1..=16 {
        let (account, name) = (account.clone(), name.clone());
        claims.spawn(async move {
            let value = format!("\"{index}\"");
            let batch = [change("DELETE", &name, "TXT", &["\"0\""]), change("CREATE", &name, "TXT", &[&value])];
            change_records(at, &account, &batch).await.0
        });
    }
    claims.join_all().await.into_iter().filter(StatusCode::is_success).count() == 1
}

async fn applies_all_or_nothing(world: &World) -> bool {
    let account = Account::of(world).await;
    let batch = [
        change("UPSERT", &account.domain(), "A", &["192.0.2.1"]),
        change("UPSERT", "www.elsewhere.example", "A", &["192.0.2.1"]),
    ];
    let (status, _) = change_records(world.aws(), &account, &batch).await;
    status == StatusCode::BAD_REQUEST && records(world, &account).await == 0
}

async fn refuses_second_create(world: &World) -> bool {
    let account = Account::of(world).await;
    let (at, name) = (world.aws(), name(&account));
    change_records(at, &account, &[change("CREATE", &name, "TXT", &["\"one\""])]).await;
    let (status, body) = change_records(at, &account, &[change("CREATE", &name, "TXT", &["\"two\""])]).await;
    status == StatusCode::BAD_REQUEST && body.contains("it already exists")
}

async fn takes_values_in_any_order(world: &World) -> bool {
    let account = Account::of(world).await;
    let (at, name) = (world.aws(), name(&account));
    change_records(at, &account, &[change("CREATE", &name, "TXT", &["\"one\"", "\"two\""])]).await;
    change_records(at, &account, &[change("DELETE", &name, "TXT", &["\"two\"", "\"one\""])]).await.0 == StatusCode::OK
}

async fn takes_upper_case(world: &World) -> bool {
    let account = Account::of(world).await;
    let shouted = account.domain().to_uppercase();
    change_records(world.aws(), &account, &[change("UPSERT", &shouted, "A", &["192.0.2.1"])]).await.0 == StatusCode::OK
}

async fn refuses_bad_values(world: &World) -> bool {
    let account = Account::of(world).await;
    let long = format!("\"{}\"", "x".repeat(256));
    let table: [(&str, &[&str]); 5] = [
        ("A", &["192.0.2.256"]),
        ("AAAA", &["192.0.2.1"]),
        ("TXT", &["no quotation marks"]),
        ("TXT", &[&long]),
        ("TXT", &["\"twice\"", "\"twice\""]),
    ];
    for (kind, values) in table {
        let (status, body) =
            change_records(world.aws(), &account, &[change("UPSERT", &name(&account), kind, values)]).await;
        if status != StatusCode::BAD_REQUEST || element(&body, "Code") != "InvalidChangeBatch" {
            return false;
        }
    }
    true
}

async fn is_pending_first(world: &World) -> bool {
    let account = Account::of(world).await;
    let at = world.aws();
    let (_, body) = change_records(at, &account, &[change("UPSERT", &account.domain(), "A", &["192.0.2.1"])]).await;
    let id = element(&body, "Id");
    if element(&body, "Status") != "PENDING" {
        return false;
    }
    eventually("the change is INSYNC", Duration::from_secs(5), async || {
        element(&change_status(at, &account, &id).await.1, "Status") == "INSYNC"
    })
    .await;
    true
}

async fn knows_no_unknown_change(world: &World) -> bool {
    let account = Account::of(world).await;
    let (status, body) = change_status(world.aws(), &account, "/change/C0000000000000000000").await;
    status == StatusCode::NOT_FOUND && element(&body, "Code") == "NoSuchChange"
}

/// Two versions, of which the older has been made current again; the ids of both.
async fn moved_back(world: &World, account: &Account) -> [String; 2] {
    let at = world.aws();
    let (_, made) = secrets(at, account, "CreateSecret", &json!({ "Name": "v", "SecretString": "one" })).await;
    let (_, put) = secrets(
        at,
        account,
        "PutSecretValue",
        &json!({ "SecretId": "v", "SecretString": "two", "ClientRequestToken": "2".repeat(32) }),
    )
    .await;
    let [one, two] = [made, put].map(|answer| answer["VersionId"].as_str().expect("a version").to_owned());
    let moved =
        json!({ "SecretId": "v", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": two, "MoveToVersionId": one });
    assert_eq!(secrets(at, account, "UpdateSecretVersionStage", &moved).await.0, StatusCode::OK);
    [one, two]
}

async fn follows_current(world: &World) -> bool {
    let account = Account::of(world).await;
    moved_back(world, &account).await;
    secrets(world.aws(), &account, "GetSecretValue", &json!({ "SecretId": "v" })).await.1["SecretString"] == "one"
}

async fn has_one_current(world: &World) -> bool {
    let account = Account::of(world).await;
    moved_back(world, &account).await;
    secrets(
        world.aws(),
        &account,
        "PutSecretValue",
        &json!({ "SecretId": "v", "SecretString": "three", "ClientRequestToken": "3".repeat(32) }),
    )
    .await;
    holders(world, &account).await == 1
}

async fn keeps_labels_on_refusal(world: &World) -> bool {
    let account = Account::of(world).await;
    let [one, _] = moved_back(world, &account).await;
    let unknown = "9".repeat(32);
    let moved = json!({ "SecretId": "v", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": one, "MoveToVersionId": unknown });
    let (status, _) = secrets(world.aws(), &account, "UpdateSecretVersionStage", &moved).await;
    !status.is_success() && holders(world, &account).await == 1
}

/// How many versions hold AWSCURRENT.
async fn holders(world: &World, account: &Account) -> usize {
    let (_, described) = secrets(world.aws(), account, "DescribeSecret", &json!({ "SecretId": "v" })).await;
    let stages = described["VersionIdsToStages"].as_object().expect("versions").clone();
    stages.values().filter(|stages| stages.as_array().is_some_and(|all| all.contains(&json!("AWSCURRENT")))).count()
}

async fn checks_digests(world: &World) -> bool {
    let account = Account::of(world).await;
    // Of the empty string.
    let digests = [
        ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
    ];
    for digest in digests {
        let (status, body) = object(world.aws(), &account, Method::PUT, "k", &[digest], "not empty").await;
        if status != StatusCode::BAD_REQUEST || element(&body, "Code") != "BadDigest" {
            return false;
        }
    }
    true
}

async fn heeds_copy_conditions(world: &World) -> bool {
    let account = Account::of(world).await;
    let (at, from) = (world.aws(), format!("/{}/a", account.bucket));
    for key in ["a", "b"] {
        object(at, &account, Method::PUT, key, &[], key).await;
    }
    let conditions = [("x-amz-copy-source-if-match", "\"other\""), ("if-none-match", "*"), ("if-match", "\"other\"")];
    for condition in conditions {
        let headers = [("x-amz-copy-source", from.as_str()), condition];
        if object(at, &account, Method::PUT, "b", &headers, "").await.0 != StatusCode::PRECONDITION_FAILED {
            return false;
        }
    }
    true
}

async fn lists_checksums_of_parts(world: &World) -> bool {
    let account = Account::of(world).await;
    let at = world.aws();
    let upload = element(&object(at, &account, Method::POST, "k?uploads", &[], "").await.1, "UploadId");
    let wrong = [("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")];
    let part = format!("k?partNumber=1&uploadId={upload}");
    if object(at, &account, Method::PUT, &part, &wrong, "part").await.0 != StatusCode::BAD_REQUEST {
        return false;
    }
    object(at, &account, Method::PUT, &part, &[], "part").await;
    let (_, listed) = object(at, &account, Method::GET, &format!("k?uploadId={upload}"), &[], "").await;
    // Of "part".
    element(&listed, "ChecksumSHA256") == "N6aAEzvQk0L5NK+43Sx9nhtiTaXzXjo4rbED43wFXtE="
}

async fn hides_missing_keys(world: &World) -> bool {
    let account = Account::of(world).await;
    let at = world.aws();
    object(at, &account, Method::PUT, "gone", &[], "x").await;
    object(at, &account, Method::DELETE, "gone", &[], "").await;
    for key in ["never", "gone"] {
        let head = object(at, &account, Method::HEAD, key, &[], "").await.0;
        let (get, body) = object(at, &account, Method::GET, key, &[], "").await;
        if [head, get] != [StatusCode::FORBIDDEN; 2] || element(&body, "Code") != "AccessDenied" {
            return false;
        }
    }
    let from = format!("/{}/never", account.bucket);
    let copied = object(at, &account, Method::PUT, "copy", &[("x-amz-copy-source", &from)], "").await.0;
    world.control("show_missing", &[("account", &account.id)], bytes::Bytes::new()).await;
    let (shown, body) = object(at, &account, Method::GET, "never", &[], "").await;
    copied == StatusCode::FORBIDDEN && shown == StatusCode::NOT_FOUND && element(&body, "Code") == "NoSuchKey"
}

async fn redirects_between_regions(world: &World) -> bool {
    let account = Account::of(world).await;
    let at = world.aws();
    for (status, code, names_it) in [
        (301, "PermanentRedirect", "s3.eu-west-1.amazonaws.com"),
        (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
    ] {
        let status_text = status.to_string();
        let to = [("account", &*account.id), ("bucket", &*account.bucket), ("region", "eu-west-1")];
        let to: Vec<_> = to.into_iter().chain([("refused_with", &*status_text)]).collect();
        world.control("move_bucket", &to, bytes::Bytes::new()).await;
        for (method, key) in [(Method::PUT, "k"), (Method::GET, "k"), (Method::GET, "?list-type=2")] {
            let (said, body) = object(at, &account, method, key, &[], "").await;
            if said.as_u16() != status || element(&body, "Code") != code || !body.contains(names_it) {
                return false;
            }
        }
        if object(at, &account, Method::HEAD, "k", &[], "").await.0.as_u16() != status {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_answer_what_is_insync_over_udp_and_tcp() {
    let account = Account::new().await;
    let name = name(&account);
    account.propagate_after(0.4).await;
    account.upsert(&name, "TXT", 60, &["\"hello\""]).await;
    let (udp, tcp) = (ask_udp(&name).await, ask_tcp(&name).await);
    assert!(!contains(&udp, b"hello") && !contains(&tcp, b"hello"), "it is still PENDING");
    eventually("it is INSYNC", Duration::from_secs(5), async || contains(&ask_udp(&name).await, b"hello")).await;
    assert!(contains(&ask_tcp(&name).await, b"hello"));
    assert!(account.asked(&name).await >= 4);
}

/// A question for TXT (RFC 1035 §4.1).
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len().try_into().expect("a short label"));
        message.extend(label.bytes());
    }
    message.extend([0, 0, 16, 0, 1]);
    message
}

async fn ask_udp(name: &str) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(&question(name), World::shared().dns()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).await.expect("an answer");
    answer.truncate(length);
    answer
}

/// The same over TCP, where the length comes first (RFC 1035 §4.2.2).
async fn ask_tcp(name: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(World::shared().dns()).await.expect("a connection");
    let question = question(name);
    stream.write_u16(question.len().try_into().expect("a short question")).await.expect("sent");
    stream.write_all(&question).await.expect("sent");
    let mut answer = vec![0; stream.read_u16().await.expect("a length").into()];
    stream.read_exact(&mut answer).await.expect("an answer");
    answer
}

fn contains(message: &[u8], text: &[u8]) -> bool {
    message.windows(text.len()).any(|part| part == text)
}

/// How many record sets a zone has, but NS and SOA.
async fn records(world: &World, account: &Account) -> usize {
    let records = world.control("records", &[("account", &account.id)], bytes::Bytes::new()).await;
    records.as_array().expect("record sets").len()
}
