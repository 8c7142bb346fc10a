#!/usr/bin/env python3
"""Creates stack.yaml on moto and prints, as a JSON array, what it made.

    stack_on_moto.py STACK REGION KEY=VALUE… [-- KEY=VALUE…]…

Each KEY=VALUE is a parameter; behind each `--` are those of another stack, in an account of its own. The network is the account's default VPC: moto's CloudFormation (5.2.5) has neither
AWS::EC2::VPCCidrBlock nor Fn::Cidr nor fleets. What it leaves out of a bucket and a security group is printed as it
is written.
"""

import ast
import base64
import json
import pathlib
import sys

import boto3
import cfnlint.decode
from moto import mock_aws


@mock_aws
def made(stack, region, parameters):
    ec2 = boto3.client("ec2", region)
    parameters["Vpc"] = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    parameters["Subnets"] = ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:3])
    formation = boto3.client("cloudformation", region)
    formation.create_stack(
        StackName="site",
        TemplateBody=pathlib.Path(stack).read_text("utf-8"),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    described = formation.describe_stacks(StackName="site")["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    resources = formation.describe_stack_resources(StackName="site")["StackResources"]
    # A resource whose condition does not hold is listed without a name.
    resources = [resource for resource in resources if "LogicalResourceId" in resource]
    named = {resource["LogicalResourceId"]: resource.get("PhysicalResourceId") for resource in resources}
    role = named["Role"].split("/")[-1]
    policy = boto3.client("iam").get_role_policy(RoleName=role, PolicyName="host")["PolicyDocument"]
    # moto's CloudFormation keeps the document as Python would write it, and AWS::NoValue in a list as None.
    policy = ast.literal_eval(policy) if isinstance(policy, str) else policy
    policy["Statement"] = [statement for statement in policy["Statement"] if statement]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=named["LaunchTemplate"])
    template = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    groups = boto3.client("autoscaling", region).describe_auto_scaling_groups()["AutoScalingGroups"]
    written, _ = cfnlint.decode.decode(stack)
    return {
        "written": written["Resources"],
        "status": described["StackStatus"],
        "outputs": outputs,
        "types": sorted({resource["ResourceType"] for resource in resources}),
        "policy": policy,
        "user_data": base64.b64decode(template.pop("UserData")).decode(),
        "template": template,
        "groups": groups,
    }


if __name__ == "__main__":
    stacks = [[]]
    for argument in sys.argv[3:]:
        if argument == "--":
            stacks.append([])
        else:
            stacks[-1].append(argument.split("=", 1))
    print(json.dumps([made(sys.argv[1], sys.argv[2], dict(given)) for given in stacks], default=str))
