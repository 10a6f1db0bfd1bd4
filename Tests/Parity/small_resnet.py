"""torchvision's ResNet with any number of channels behind the first convolution, so that a network fits in a small file."""
from torch import nn
from torchmultimodal.models.mdetr.image_encoder import FrozenBatchNorm2d
from torchvision.models import resnet


class ResNet(resnet.ResNet):
    """`stem_channels` in the place of torchvision's 64; classes and blocks by name or as such."""

    def __init__(self, block, layers, stem_channels=64, num_classes=1000, norm_layer=None, **kwargs):
        object.__setattr__(self, "scale", stem_channels)
        super().__init__(block, list(layers), num_classes=num_classes, norm_layer=norm_layer, **kwargs)
        self.fc = nn.Linear(8 * stem_channels * block.expansion, num_classes)

    @property
    def inplanes(self):
        return self.channels

    @inplanes.setter
    def inplanes(self, value):
        # The first assignment is torchvision's constant; later ones are computed from planes, which are scaled below.
        first = "channels" not in self.__dict__
        object.__setattr__(self, "channels", self.scale if first else value)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        return super()._make_layer(block, planes * self.scale // 64, blocks, stride, dilate)

    def features(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


NAMES = dict(BasicBlock=resnet.BasicBlock, Bottleneck=resnet.Bottleneck, FrozenBatchNorm2d=FrozenBatchNorm2d, ResNet=ResNet)
