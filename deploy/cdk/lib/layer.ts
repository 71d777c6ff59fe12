import * as path from 'path';
import { aws_lambda as lambda } from 'aws-cdk-lib';
import { Construct } from 'constructs';

/** The ARNs of published versions of the Sidekey layer, one for each architecture. */
export interface LayerArns {
  /** The ARN of the layer version for arm64. Functions for arm64 need it. */
  readonly arm64?: string;
  /** The ARN of the layer version for x86-64. Functions for x86-64 need it. */
  readonly x86?: string;
}

/** The Sidekey layer, for one or both architectures. */
export class SidekeyLayer {
  /** Uses layer versions that are already published. */
  public static fromArns(arns: LayerArns): SidekeyLayer {
    if (!arns.arm64 && !arns.x86) {
      throw new Error('SidekeyLayer.fromArns needs the ARN of a layer version: give `arm64`, `x86` or both');
    }
    return new SidekeyLayer(arns, undefined);
  }

  /**
   * Publishes the zips that `extension/layer/build` wrote.
   *
   * @param folder The folder of the zips, which is `target/lambda` in a clone of Sidekey.
   */
  public static fromFolder(folder: string): SidekeyLayer {
    return new SidekeyLayer({}, folder);
  }

  private constructor(private readonly arns: LayerArns, private readonly folder?: string) {}

  /**
   * Returns the layer version for an architecture. Two calls in one scope return the same version.
   *
   * @internal
   */
  public _version(scope: Construct, architecture: lambda.Architecture): lambda.ILayerVersion {
    const isArm = architecture.name === lambda.Architecture.ARM_64.name;
    const name = isArm ? 'arm64' : 'x86_64';
    const id = `Layer-${name}`;
    const existing = scope.node.tryFindChild(id);
    if (existing) return existing as lambda.LayerVersion;
    if (this.folder !== undefined) {
      return new lambda.LayerVersion(scope, id, {
        code: lambda.Code.fromAsset(path.join(this.folder, `sidekey-layer-${name}.zip`)),
        compatibleArchitectures: [architecture],
        description: 'Serves secrets of Secrets Manager and parameters of Parameter Store on localhost',
        license: 'Apache-2.0',
      });
    }
    const arn = isArm ? this.arns.arm64 : this.arns.x86;
    if (!arn) {
      throw new Error(
        `the function has the architecture ${name}, but SidekeyLayer.fromArns got no ARN for it: add \`${isArm ? 'arm64' : 'x86'}\``,
      );
    }
    return lambda.LayerVersion.fromLayerVersionArn(scope, id, arn);
  }
}
