//! A bucket in another region than its caller: S3 says where it is, and there it is asked from then on.

use world::{Account, Instance, Publisher, Site};

use crate::{SOON, front};

/// How many calls were sent to the wrong region.
fn astray(aws: &world::FaultProxy) -> usize {
    aws.calls().iter().filter(|call| matches!(call.status, Some(301 | 400))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_serves_from_a_bucket_of_another_region_and_its_check_says_where_that_is() {
    for status in [301, 400] {
        let instance = Instance::new().await;
        instance.account.put("site-latest.zip", Site::titled("far away").zip()).await;
        instance.account.move_bucket("eu-west-1", status).await;
        let mut agent = instance.start();
        let visitor = instance.visitor();
        agent.wait_until_serving(SOON).await;
        instance.wait_until_told(&mut agent, SOON).await;
        assert!(front(&visitor).await.is_some_and(|page| page.contains("far away")));
        let told = async |_: &_| !instance.account.names(".spothost/verdicts/").await.is_empty();
        agent.wait_for("a verdict", SOON, told).await;
        // The process learns it once; calls that were under way together each ask once.
        assert!((1..=4).contains(&astray(&instance.aws)), "{status}: {:?}", instance.aws.calls());
        let looks = instance.aws.count("HeadObject");
        let before = astray(&instance.aws);
        agent.wait_for("some looks", SOON, async |_| instance.aws.count("HeadObject") > looks + 3).await;
        assert_eq!(astray(&instance.aws), before, "it is not asked in the wrong region again");
        let check = instance.command(&["check"]).await;
        let says = format!("the bucket {} is in eu-west-1, and the host in us-east-1", instance.account.bucket);
        let words = |text: &str| text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(words(&check.stdout).contains(&says), "{check:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_follows_a_bucket_to_its_region() {
    for status in [301, 400] {
        let publisher = Publisher::of(&Account::new().await).await;
        publisher.account.move_bucket("eu-central-1", status).await;
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(20 << 20).collect();
        for site in [Site::titled("small"), Site::titled("in parts").with("noise.png", noise)] {
            publisher.write(&site);
            let ended = publisher.publish(&[]).await;
            assert_eq!(ended.code, Some(0), "{status}: {ended:?}");
        }
        assert_eq!(publisher.versions().await.len(), 2);
        let back = publisher.command(&["rollback"]).await;
        assert_eq!((back.code, publisher.latest().await), (Some(0), publisher.versions().await.first().cloned()));
    }
}
