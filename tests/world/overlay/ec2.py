"""EC2's fleets, where moto is laxer or does nothing.

A fleet of type `maintain` is `modifying` for a while after a change of its target, refuses another
change meanwhile, starts what is missing, and ends what is too many only where the request says so:
`noTermination` (Spot Fleet) and `no-termination` (EC2 Fleet) are honoured, everything else is
`default`, which picks by the fleet's own strategy and not by age. The rules are those of the
user guide's "Modify a Spot Fleet request" and "Modify an EC2 Fleet".

Each region has an EC2 of its own, which knows nothing of the instances of the other; and one can be
told to forget an instance, as EC2 does an hour after its end, and as it does not know a fresh one
everywhere at once ("Eventual consistency in the Amazon EC2 API").
"""

import time
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.core.responses import ActionResult
from moto.ec2 import models, responses
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import instances
from moto.ec2.models.instances import Instance
from moto.route53.models import route53_backends

REGION = "us-east-1"

REGIONS = (REGION, "eu-west-1")
"""Those of the world, the usual one first."""

FORGOTTEN: set[str] = set()
"""Instances that EC2 knows nothing of, for every caller, though they are as they were."""

MODIFYING = 0.2
"""Seconds for which a fleet is being modified."""

IMAGE = {"ImageId": "ami-12c6146b", "InstanceType": "t3.micro"}

METADATA = {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"}
"""As the launch template has it."""


STARTED: set[str] = set()
"""Instances that have the tags of their launch template; what is taken from them later stays away."""

ADDRESSES: dict[str, str] = {}
"""Public addresses of instances that are machines of a test; moto makes up others."""


def install() -> None:
    """Puts these rules in the place of moto's."""
    told = Instance.public_ip_address.fget
    Instance.public_ip_address = property(lambda self: ADDRESSES.get(self.id) or told(self))
    answering = responses.EC2Response
    answering.describe_instances = remembered_only(answering.describe_instances)
    answering.modify_spot_fleet_request = modify_spot_fleet_request
    answering.describe_spot_fleet_requests = describe_spot_fleet_requests
    answering.modify_fleet = modify_fleet
    answering.describe_fleets = settled_first(answering.describe_fleets)
    answering.describe_spot_fleet_instances = settled_first(answering.describe_spot_fleet_instances)
    answering.describe_fleet_instances = settled_first(answering.describe_fleet_instances)
    answering.describe_addresses = released_first(answering.describe_addresses)
    answering.associate_address = released_first(answering.associate_address)


def settled_first(answer: Any) -> Any:
    def settled(self: responses.EC2Response) -> Any:
        settle(self.ec2_backend)
        return answer(self)

    return settled


def remembered_only(answer: Any) -> Any:
    """One that is asked for by its id and is not known is an error; by a filter it is just not listed (DescribeInstances)."""

    def remembered(self: responses.EC2Response) -> Any:
        if unknown := sorted(FORGOTTEN.intersection(self._get_param("InstanceIds", []))):
            raise EC2ClientError("InvalidInstanceID.NotFound", f"The instance ID '{unknown[0]}' does not exist")
        all_of_them = self.ec2_backend.reservations
        self.ec2_backend.reservations = {
            number: reservation
            for number, reservation in all_of_them.items()
            if not FORGOTTEN.intersection(instance.id for instance in reservation.instances)
        }
        try:
            return answer(self)
        finally:
            self.ec2_backend.reservations = all_of_them

    return remembered


def released_first(answer: Any) -> Any:
    """An instance that has ended has no Elastic IP any more, and is given none ("Elastic IP addresses" of the user guide)."""

    def released(self: responses.EC2Response) -> Any:
        release_of_the_dead(self.ec2_backend)
        instance = self._get_param("InstanceId")
        if instance and self.ec2_backend.get_instance(instance).state != "running":
            raise EC2ClientError("InvalidInstanceID", f"The instance '{instance}' is not in a valid state for this operation")
        return answer(self)

    return released


def release_of_the_dead(backend: Any) -> None:
    for address in backend.addresses:
        if address.instance and address.instance.state != "running":
            address.instance = address.eni = address.association_id = None


def modify_spot_fleet_request(self: responses.EC2Response) -> ActionResult:
    fleet = self.ec2_backend.spot_fleet_requests.get(self._get_param("SpotFleetRequestId"))
    if fleet is None:
        raise EC2ClientError("InvalidSpotFleetRequestId.NotFound", "The spot fleet request ID does not exist")
    modify(
        self.ec2_backend,
        fleet,
        self._get_int_param("TargetCapacity"),
        self._get_param("ExcessCapacityTerminationPolicy") == "noTermination",
        "FleetNotInModifiableState",
    )
    return ActionResult({"Return": True})


def modify_fleet(self: responses.EC2Response) -> ActionResult:
    fleet = self.ec2_backend.fleets.get(self._get_param("FleetId"))
    if fleet is None:
        raise EC2ClientError("InvalidFleetId.NotFound", "The fleet ID does not exist")
    target = self._get_param("TargetCapacitySpecification", {})
    modify(
        self.ec2_backend,
        fleet,
        int(target["TotalTargetCapacity"]) if "TotalTargetCapacity" in target else None,
        self._get_param("ExcessCapacityTerminationPolicy") == "no-termination",
        "FleetNotInModifiableState",
    )
    return ActionResult({"Return": True})


def modify(backend: Any, fleet: Any, target: int | None, keeps: bool, busy: str) -> None:
    settle(backend)
    if fleet.state != "active":
        raise EC2ClientError(busy, f"The fleet {fleet.id} is {fleet.state}")
    if target is not None:
        fleet.target_capacity = target
        if hasattr(fleet, "target_capacity_specification"):
            fleet.target_capacity_specification["TotalTargetCapacity"] = target
    fleet.keeps_excess = keeps
    fleet.state, fleet.modified = "modifying", time.time() + MODIFYING


def describe_spot_fleet_requests(self: responses.EC2Response) -> ActionResult:
    wanted = self._get_param("SpotFleetRequestIds", [])
    settle(self.ec2_backend)
    for number in wanted:
        if number not in self.ec2_backend.spot_fleet_requests:
            raise EC2ClientError("InvalidSpotFleetRequestId.NotFound", "The spot fleet request ID does not exist")
    return ActionResult({"SpotFleetRequestConfigs": self.ec2_backend.describe_spot_fleet_requests(wanted)})


def settle(backend: Any) -> None:
    """What every fleet has done by now."""
    for fleet in [*backend.spot_fleet_requests.values(), *backend.fleets.values()]:
        if fleet.state == "modifying" and time.time() >= fleet.modified:
            fleet.state = "active"
        if fleet.state != "active":
            continue
        while len(living(fleet)) < fleet.target_capacity:
            fleet.create_spot_requests(1)
        tag(backend, fleet)
        if not getattr(fleet, "keeps_excess", True):
            many = max(0, len(living(fleet)) - fleet.target_capacity)
            excess = living(fleet)[-many:] if getattr(fleet, "ends_youngest", False) else living(fleet)[:many]
            if many:
                backend.terminate_instances(excess)


def tag(backend: Any, fleet: Any) -> None:
    """AWS tags what a fleet starts, under names that nobody else may use, and the launch template in the name of the site."""
    key = "aws:ec2spot:fleet-request-id" if fleet.id.startswith("sfr-") else "aws:ec2:fleet-id"
    for instance in living(fleet):
        tag_as_of_the_site(backend, instance)
        backend.tags[instance][key] = fleet.id


def tag_as_of_the_site(backend: Any, instance: str) -> None:
    """As the launch template does it when the instance starts: the instance and its interfaces."""
    if instance in STARTED:
        return
    STARTED.add(instance)
    for resource in (instance, *(nic.id for nic in backend.get_instance(instance).nics.values())):
        backend.tags[resource] |= site(backend.account_id)


def site(account: str) -> dict[str, str]:
    """The tag of the site of that account; none without a zone."""
    zones = route53_backends[account]["aws"].zones.values()
    return {"spothost:domain": f"www.{zone.name}".rstrip(".") for zone in zones}


def settle_groups(account: str) -> None:
    """A group starts another instance in the place of one that is gone."""
    for group in autoscaling_backends[account][REGION].autoscaling_groups.values():
        group.instance_states = [state for state in group.instance_states if state.instance.state == "running"]
        if len(group.instance_states) < (group.desired_capacity or 0):
            group.set_desired_capacity(group.desired_capacity)
        for state in group.instance_states:
            tag_as_of_the_site(backend_of(account), state.instance.id)


def living(fleet: Any) -> list[str]:
    return [request.instance.id for request in fleet.spot_requests if request.instance.state == "running"]


def backend_of(account: str, region: str = REGION) -> Any:
    return models.ec2_backends[account][region]


def backend_with(account: str, instance: str) -> Any:
    """The EC2 of the region in which that instance is; the usual one, where it is none."""
    backends = (backend_of(account, region) for region in REGIONS)
    return next((backend for backend in backends if backend.get_instance_by_id(instance)), backend_of(account))


def make_fleet(account: str, kind: str, target: int, weight: int) -> str:
    """A fleet of that kind (`spot`, `ec2`, `group`) with so many instances, each of which counts `weight` units."""
    backend = backend_of(account)
    weights = {"WeightedCapacity": weight} if weight != 1 else {}
    tags = [{"Key": key, "Value": value} for key, value in site(account).items()]
    if kind == "spot":
        return backend.request_spot_fleet(
            spot_price=None,
            target_capacity=target,
            iam_fleet_role="arn:aws:iam::123456789012:role/fleet",
            allocation_strategy="lowestPrice",
            launch_specs=[IMAGE | weights],
            tag_specifications=[{"ResourceType": "spot-fleet-request", "Tags": tags}],
        ).id
    template = backend.create_launch_template(f"host-{time.time_ns()}", "", IMAGE, {})
    named = {"LaunchTemplateId": template.id, "Version": "$Latest"}
    if kind == "ec2":
        return backend.create_fleet(
            on_demand_options={},
            spot_options={"AllocationStrategy": "lowest-price"},
            target_capacity_specification={"TotalTargetCapacity": target, "DefaultTargetCapacityType": "spot"},
            launch_template_configs=[{"LaunchTemplateSpecification": named, "Overrides": [weights] if weights else []}],
            excess_capacity_termination_policy="termination",
            replace_unhealthy_instances=False,
            terminate_instances_with_expiration=False,
            fleet_type="maintain",
            valid_from=None,
            valid_until=None,
            tag_specifications=[{"ResourceType": "fleet", "Tags": tags}],
        ).id
    name = f"hosts-{time.time_ns()}"
    autoscaling_backends[account][REGION].create_auto_scaling_group(
        name=name,
        availability_zones=["us-east-1a"],
        desired_capacity=target,
        max_size=4,
        min_size=0,
        launch_config_name=None,
        launch_template={"LaunchTemplateId": template.id, "Version": "$Latest"},
        vpc_zone_identifier=None,
        default_cooldown=None,
        health_check_period=None,
        health_check_type="EC2",
        load_balancers=[],
        target_group_arns=[],
        placement_group=None,
        termination_policies=[],
        tags=[tag | {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False} for tag in tags],
        capacity_rebalance=False,
        new_instances_protected_from_scale_in=False,
        instance_id=None,
        mixed_instances_policy=None,
    )
    return name


def set_target(account: str, fleet: str, target: int, ends_youngest: bool) -> None:
    """By somebody's hand: nothing is ended for it, unless a Spot Fleet is to end its youngest hosts."""
    backend = backend_of(account)
    if fleet in backend.spot_fleet_requests:
        request = backend.spot_fleet_requests[fleet]
        request.ends_youngest = ends_youngest
        modify(backend, request, target, not ends_youngest, "busy")
    elif fleet in backend.fleets:
        modify(backend, backend.fleets[fleet], target, True, "busy")
    else:
        autoscaling_backends[account][REGION].set_desired_capacity(fleet, target)


def describe(account: str, fleet: str) -> dict[str, Any]:
    """Target, and the instances that live."""
    backend = backend_of(account)
    settle(backend)
    found = backend.spot_fleet_requests.get(fleet) or backend.fleets.get(fleet)
    if found:
        return {"target": found.target_capacity, "instances": living(found)}
    group = autoscaling_backends[account][REGION].autoscaling_groups[fleet]
    return {
        "target": group.desired_capacity,
        "instances": [state.instance.id for state in group.instance_states if state.instance.state == "running"],
    }


def allocate(account: str, ip: str) -> str:
    """An Elastic IP; its allocation id."""
    return backend_of(account).allocate_address("vpc", address=ip).allocation_id


def associate(account: str, allocation: str, instance: str) -> None:
    """By somebody's hand; to nobody, if no instance is named."""
    backend = backend_of(account)
    address = backend.address_by_allocation([allocation])[0]
    if instance:
        backend.associate_address(instance=backend.get_instance(instance), allocation_id=allocation, reassociate=True)
    elif address.association_id:
        backend.disassociate_address(association_id=address.association_id)


def associated(account: str, allocation: str) -> str | None:
    """The instance that an Elastic IP leads to."""
    backend = backend_of(account)
    release_of_the_dead(backend)
    return backend.address_by_allocation([allocation])[0].instance_id or None


def launch(account: str, region: str) -> str:
    """An instance of no fleet."""
    backend = backend_of(account, region)
    made = backend.run_instances(
        image_id=IMAGE["ImageId"],
        count=1,
        user_data=None,
        security_group_names=[],
        instance_type=IMAGE["InstanceType"],
        is_instance_type_default=False,
        metadata_options=METADATA,
    )
    instance = made.instances[0].id
    tag_as_of_the_site(backend, instance)
    return instance


def described(account: str, kind: str, id: str) -> dict[str, Any]:
    """What IAM looks at of a resource of that kind: its tags, the interface of an instance, the name of a group."""
    backend = backend_with(account, id)
    if kind not in ("group", "group-of"):
        instance = next((one for one in all_instances(backend) if one.id == id), None)
        interface = {"interface": instance.nics[0].id} if instance else {}
        fleet = backend.spot_fleet_requests.get(id)
        of_the_fleet = {tag["Key"]: tag["Value"] for tag in fleet.tag_set} if fleet else {}
        return {"tags": of_the_fleet | backend.tags.get(id, {})} | interface
    settle_groups(account)
    for group in autoscaling_backends[account][REGION].autoscaling_groups.values():
        if group.name == id or any(state.instance.id == id for state in group.instance_states):
            return {"name": group.name, "tags": {tag["Key"]: tag["Value"] for tag in group.tags}}
    return {"tags": {}}


def untag(account: str, id: str) -> None:
    """Takes the tag of the site from a fleet or an instance."""
    backend = backend_of(account)
    backend.tags.get(id, {}).pop("spothost:domain", None)
    if fleet := backend.spot_fleet_requests.get(id):
        fleet.tags = {}
    if fleet := backend.fleets.get(id):
        fleet.tags = fleet.get_tags()
    if group := autoscaling_backends[account][REGION].autoscaling_groups.get(id):
        group.tags = [tag for tag in group.tags if tag["Key"] != "spothost:domain"]


def all_instances(backend: Any) -> list[Any]:
    return [instance for reservation in backend.reservations.values() for instance in reservation.instances]


def set_up(account: str, instance: str, options: dict[str, Any], domain: str) -> None:
    backend = backend_with(account, instance)
    backend.get_instance(instance).metadata_options = instances.MetadataOptions({**METADATA, **options})
    tags = backend.tags[instance]
    tags.pop("spothost:domain", None)
    if domain:
        tags["spothost:domain"] = domain


def end(account: str, instance: str) -> None:
    """Taken by EC2, or ended by somebody's hand; a fleet then starts another."""
    backend = backend_with(account, instance)
    backend.terminate_instances([instance])
    settle(backend)
    settle_groups(account)


def forget(instance: str, forgotten: bool) -> None:
    """EC2 knows nothing of that instance from now on, or knows it again."""
    (FORGOTTEN.add if forgotten else FORGOTTEN.discard)(instance)


def set_address(instance: str, address: str) -> None:
    """The public address by which EC2 describes that instance."""
    ADDRESSES[instance] = address


def states(account: str) -> dict[str, str]:
    """Every instance of the account and its state, in every region."""
    settle_groups(account)
    for region in REGIONS:
        settle(backend_of(account, region))
    return {
        instance.id: instance.state
        for region in REGIONS
        for reservation in backend_of(account, region).reservations.values()
        for instance in reservation.instances
    }
